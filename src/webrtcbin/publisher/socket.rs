//! The receive buffer of webrtcbin's socket.
//!
//! libnice leaves it at the system's size, on most machines room for 90 packets: less than a tenth of
//! a large keyframe, and gone in the 15 ms for which the thread that reads may have to wait for a
//! processor.

use std::{
    fs, io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::SockRef;

/// Wanted size in bytes: 33 ms of media at 1 Gb/s. The kernel may grant less
/// (`net.core.rmem_max`).
const BUFFER_BYTES: usize = 4 << 20;

/// Enlarges the receive buffer of this process's socket at `address`. Without the permission, the
/// socket works as before.
pub(super) fn enlarge(address: SocketAddr) {
    match socket_at(address) {
        Ok(Some(socket)) => {
            let socket = SockRef::from(&socket);
            let set = socket.set_recv_buffer_size(BUFFER_BYTES);
            let granted = set.and_then(|()| socket.recv_buffer_size());
            match granted {
                Ok(bytes) => tracing::debug!(bytes, "webrtcbin's receive buffer enlarged"),
                Err(error) => tracing::debug!(%error, "webrtcbin's receive buffer not enlarged"),
            }
        }
        Ok(None) => tracing::debug!(%address, "webrtcbin's socket not found"),
        Err(error) => tracing::debug!(%error, "webrtcbin's socket not accessible"),
    }
}

/// This process's own socket with this address, which belongs to a library that does not hand it
/// out: a duplicate of its descriptor.
fn socket_at(address: SocketAddr) -> io::Result<Option<OwnedFd>> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    for entry in fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // Err: closed meanwhile.
        let target = fs::read_link(entry.path()).unwrap_or_default();
        if !target.to_string_lossy().starts_with("socket:") {
            continue;
        }
        let socket = pidfd_getfd(own.as_fd(), number, PidfdGetfdFlags::empty())?;
        let bound = SockRef::from(&socket).local_addr();
        if bound.is_ok_and(|bound| bound.as_socket() == Some(address)) {
            return Ok(Some(socket));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn a_socket_of_this_process_gets_a_larger_buffer() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let before = SockRef::from(&socket).recv_buffer_size().unwrap();
        enlarge(socket.local_addr().unwrap());
        let after = SockRef::from(&socket).recv_buffer_size().unwrap();
        assert!(after > before, "{before} and {after} bytes");
        assert!(socket_at("127.0.0.1:1".parse().unwrap()).unwrap().is_none());
    }
}
