//! The calls into libzmq and the C library that no crate wraps: zmq_msg_init_data(3), zmq_msg_send(3),
//! mallopt(3).
#![allow(unsafe_code)]

use core::ffi::c_void;

use zeroize::Zeroizing;

/// Sends a frame, without a copy. It is zeroed when libzmq has encrypted it, and when it cannot be
/// sent.
///
/// # Errors
///
/// Those of zmq_msg_send(3).
pub fn send(socket: &mut zmq::Socket, frame: Zeroizing<Vec<u8>>, flags: i32) -> zmq::Result<()> {
    let mut message = zmq_sys::zmq_msg_t::default();
    let length = frame.len();
    let owner = Box::into_raw(Box::new(frame));
    // SAFETY: the owner was just made and nobody else has it.
    let data = unsafe { (*owner).as_mut_ptr() };
    // SAFETY: the message is initialised here and has the size that libzmq asks for. The data is
    // valid for its length until `free` drops the owner, which libzmq does once, and nobody touches
    // it meanwhile.
    let made = unsafe {
        zmq_sys::zmq_msg_init_data(&mut message, data.cast(), length, Some(free), owner.cast())
    };
    if made != 0 {
        let error = last_error();
        // SAFETY: libzmq did not take the owner.
        drop(unsafe { Box::from_raw(owner) });
        return Err(error);
    }
    // SAFETY: the message is initialised, and the socket open for as long as it is borrowed.
    let sent = unsafe { zmq_sys::zmq_msg_send(&mut message, socket.as_mut_ptr(), flags) };
    if sent >= 0 {
        // libzmq has left an empty message, which needs no closing.
        return Ok(());
    }
    let error = last_error();
    // SAFETY: what could not be sent is still ours, initialised, and is closed once. That has no error
    // for such a message.
    unsafe { zmq_sys::zmq_msg_close(&mut message) };
    Err(error)
}

/// Called by libzmq, on any of its threads.
unsafe extern "C" fn free(_data: *mut c_void, owner: *mut c_void) {
    // SAFETY: the hint that `send` gave with the data: a box of this type, given back once.
    drop(unsafe { Box::from_raw(owner.cast::<Zeroizing<Vec<u8>>>()) });
}

fn last_error() -> zmq::Error {
    // SAFETY: takes no arguments; reads the error number of this thread.
    zmq::Error::from_raw(unsafe { zmq_sys::zmq_errno() })
}

/// From now on the C library overwrites memory that is given back to it. Gives whether it can: glibc
/// can, but not for blocks that it keeps ready for the thread, of 1,032 bytes at most.
#[cfg(target_env = "gnu")]
pub fn wipe_freed_memory() -> bool {
    // New blocks are filled with the complement, which is 0.
    const WITH: libc::c_int = 0xff;
    // SAFETY: takes two numbers, and may be called at any time.
    unsafe { libc::mallopt(libc::M_PERTURB, WITH) == 1 }
}

/// This C library cannot overwrite memory that is given back to it.
#[cfg(not(target_env = "gnu"))]
pub fn wipe_freed_memory() -> bool {
    false
}
