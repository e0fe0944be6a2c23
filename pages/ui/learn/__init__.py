"""The Learn screen: lessons, their controls and texts, exercises, progress, courses."""
