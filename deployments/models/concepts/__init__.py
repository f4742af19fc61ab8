"""Pictures and texts in one space, by the names of what is seen: the network that clip and restraint share."""
