"""What a person starts and sees."""
