//! What no crate wraps of libzmq: zmq_msg_init_data(3), zmq_msg_send(3); and what C++ code gives memory back with.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::hint::black_box;

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

/// Connections end on which the other end has not acknowledged what was sent for so many milliseconds: tcp(7),
/// `TCP_USER_TIMEOUT`. For connections that are made afterwards.
///
/// # Errors
///
/// Those of zmq_setsockopt(3).
pub fn give_up_unacknowledged(socket: &mut zmq::Socket, after: i32) -> zmq::Result<()> {
    let option = zmq_sys::ZMQ_TCP_MAXRT as i32;
    // SAFETY: the socket is open for as long as it is borrowed, and the value is valid for reads of its size.
    let set = unsafe {
        let value = (&raw const after).cast();
        zmq_sys::zmq_setsockopt(socket.as_mut_ptr(), option, value, size_of::<i32>())
    };
    if set == 0 { Ok(()) } else { Err(last_error()) }
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

/// Does libzmq overwrite what it gives back? It does where its C++ code takes this program's `operator delete`, below:
/// as it is part of the program, or because the program comes first where the dynamic linker looks.
pub fn wipes_freed_memory() -> bool {
    // Named here, so that the linker does not leave them out.
    let ours = [delete::_ZdlPv as *mut c_void, delete::_ZdlPvm as *mut c_void];
    // SAFETY: the name ends with a zero.
    let taken = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_ZdlPvm".as_ptr()) };
    cfg!(feature = "bundled") || black_box(ours).contains(&taken)
}

/// C++'s `operator delete`: what CURVE encrypts from is a `std::vector`. A program may have its own (ISO C++, replacement
/// functions), and this one overwrites what it is given.
mod delete {
    use core::ffi::c_void;
    use core::mem::MaybeUninit;
    use core::slice;
    use zeroize::Zeroize as _;

    unsafe extern "C" {
        fn malloc_usable_size(block: *mut c_void) -> usize;
    }

    /// `operator delete(void*)`.
    #[unsafe(no_mangle)]
    pub(super) unsafe extern "C" fn _ZdlPv(block: *mut c_void) {
        if block.is_null() {
            return;
        }
        // SAFETY: `operator new` took the block from malloc, and nobody uses it any more; all of it may be written to.
        unsafe {
            let length = malloc_usable_size(block);
            slice::from_raw_parts_mut(block.cast::<MaybeUninit<u8>>(), length).zeroize();
            libc::free(block);
        }
    }

    /// `operator delete(void*, std::size_t)`.
    #[unsafe(no_mangle)]
    pub(super) unsafe extern "C" fn _ZdlPvm(block: *mut c_void, _length: usize) {
        // SAFETY: as above.
        unsafe { _ZdlPv(block) }
    }
}
