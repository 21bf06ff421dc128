"""Time as a stream: events in, a decision out at every frame interval, in constant memory."""
