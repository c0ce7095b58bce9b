//! Frames that were received.

use core::fmt;
use core::ops::Deref;

use zeroize::Zeroize as _;

/// A frame that was received. It is zeroed when it goes.
pub struct Frame(zmq::Message);

/// Takes the next frame from a socket.
///
/// # Errors
///
/// Those of zmq_msg_recv(3).
pub fn receive(socket: &zmq::Socket, flags: i32) -> zmq::Result<Frame> {
    socket.recv_msg(flags).map(Frame)
}

impl Frame {
    /// More frames of the same message follow.
    pub fn more(&self) -> bool {
        self.0.get_more()
    }

    /// What libzmq knows of the connection that it came by: zmq_msg_gets(3).
    pub fn property(&mut self, name: &str) -> Option<&str> {
        self.0.gets(name)
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of {} bytes", self.len())
    }
}
