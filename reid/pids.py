"""What person ids mean. Apart from the rankings, so that a server need not load the compiler of these."""

JUNK = -1  # pid of crops that count neither as right nor as wrong
