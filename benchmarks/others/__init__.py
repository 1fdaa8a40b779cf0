"""What a Python user would pick instead, at the same work, side by side with payplatform."""
