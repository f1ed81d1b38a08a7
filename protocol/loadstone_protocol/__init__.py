"""What the processes say to each other: proto, generated stubs and the codec. No decision lives here."""
