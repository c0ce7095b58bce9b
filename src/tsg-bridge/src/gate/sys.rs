//! The system call bpf(2).
#![allow(unsafe_code)]

use super::asm::Instruction;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

const PROG_LOAD: libc::c_long = 5;
const SCHED_CLS: u32 = 3;
/// The verifier gives up when something else wants this thread, a signal or work inside the kernel, and says to try again.
const ATTEMPTS: u32 = 20;

/// The front of `union bpf_attr` for loading; the kernel takes what is behind it as zero.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// Loads a traffic control classifier. What the verifier says against it comes with the error.
pub(super) fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    match load_at_last(program, &mut []) {
        // The verifier was asked without a log, which costs nothing; now ask for its reasons.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EINVAL)) => {
            let mut log = vec![0; 1 << 20];
            let error = match load_at_last(program, &mut log) {
                Ok(fd) => return Ok(fd),
                Err(error) => error,
            };
            let text = String::from_utf8_lossy(&log);
            let text = text.trim_end_matches('\0').lines().rev().take(3).collect::<Vec<_>>();
            match text.is_empty() {
                true => Err(error),
                false => Err(io::Error::other(format!("{error}: {}", text.join(" / ")))),
            }
        }
        other => other,
    }
}

fn load_at_last(program: &[Instruction], log: &mut [u8]) -> io::Result<OwnedFd> {
    for _ in 1..ATTEMPTS {
        match try_load(program, log) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            loaded => return loaded,
        }
    }
    try_load(program, log)
}

fn try_load(program: &[Instruction], log: &mut [u8]) -> io::Result<OwnedFd> {
    let attributes = Load {
        kind: SCHED_CLS,
        count: u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: address(program.as_ptr()),
        license: address(c"Apache-2.0".as_ptr()),
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        log: if log.is_empty() { 0 } else { address(log.as_mut_ptr()) },
    };
    // SAFETY: the kernel reads `attributes` within the size given and what it points at within the counts given,
    // and writes at most `log_size` bytes of `log`; all of it lives during the call.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attributes, size_of::<Load>())
    };
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was just made and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.addr() as u64
}

/// Runs a classifier on a frame, with this mark and as if it had come in by interface `ingress`; gives what
/// the classifier returns.
#[cfg(test)]
pub(super) fn run(program: &OwnedFd, frame: &[u8], mark: u32, ingress: u32) -> io::Result<u32> {
    use std::os::fd::AsRawFd as _;

    const PROG_TEST_RUN: libc::c_long = 10;
    #[repr(C)]
    struct Run {
        program: u32,
        result: u32,
        data_size_in: u32,
        data_size_out: u32,
        data_in: u64,
        data_out: u64,
        repeat: u32,
        duration: u32,
        context_size_in: u32,
        context_size_out: u32,
        context_in: u64,
        context_out: u64,
    }
    // `struct __sk_buff` as words: mark and ingress_ifindex are the third and the tenth.
    let mut context = [0u32; 48];
    (context[2], context[9]) = (mark, ingress);
    let mut attributes = Run {
        program: program.as_raw_fd().cast_unsigned(),
        result: 0,
        data_size_in: u32::try_from(frame.len()).unwrap(),
        data_size_out: 0,
        data_in: address(frame.as_ptr()),
        data_out: 0,
        repeat: 1,
        duration: 0,
        context_size_in: u32::try_from(size_of_val(&context)).unwrap(),
        context_size_out: 0,
        context_in: address(context.as_ptr()),
        context_out: 0,
    };
    let size = size_of::<Run>();
    // SAFETY: the kernel reads frame and context within the sizes given, and writes into `attributes`
    // within its size; all of it lives during the call.
    let done = unsafe { libc::syscall(libc::SYS_bpf, PROG_TEST_RUN, &raw mut attributes, size) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(attributes.result) }
}
