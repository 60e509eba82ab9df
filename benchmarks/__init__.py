"""Speed, start-up and memory of the lab beside what a user would take instead."""
