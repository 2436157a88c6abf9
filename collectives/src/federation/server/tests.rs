//! The server with real sockets.
