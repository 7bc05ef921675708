"""What is run by hand or runs the stages: the command line, several stages at once, warm starts."""
