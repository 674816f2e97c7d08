"""Delivery of journalled messages: the queue, and the couriers that carry for it."""
