"""How the processes of one identity share its node: who owns it, and how the others ask the owner."""
