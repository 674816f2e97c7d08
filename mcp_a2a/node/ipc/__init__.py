"""The processes of one identity share its node: one owns it, and the others ask the owner."""
