"""WebSockets without any chat, in the shapes of `websockets.sync` and of simple-websocket."""
