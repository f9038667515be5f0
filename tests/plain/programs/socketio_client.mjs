// Talks to socketio_server.py as a page would, over a WebSocket only: prints what it hears.
import { io } from "socket.io-client";

const socket = io(process.argv[2], { transports: ["websocket"], reconnection: false });
socket.on("hello", (data) => {
    console.log("hello", JSON.stringify(data));
    socket.emit("say", "hi", (answer) => {
        console.log("answer", answer);
        socket.emit("bytes", Buffer.from([1, 2]));
    });
});
socket.on("said", (text) => console.log("said", text));
socket.on("bytes", (blob) => {
    console.log("bytes", JSON.stringify([...new Uint8Array(blob)]));
    console.log("transport", socket.io.engine.transport.name);
    socket.disconnect();
});
socket.on("connect_error", (error) => {
    console.log("error", error.message);
    process.exit(1);
});
