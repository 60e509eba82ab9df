"""What a person is told, how a process begins and ends, and files that are whole or not there."""
