"""What networks trained under penalties of their weights and of themselves as they ran say, claim by claim."""
