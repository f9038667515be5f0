"""Extensions of the protocol, by the names of `websockets.extensions`: permessage-deflate."""
