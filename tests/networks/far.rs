//! How a relay reaches the server: over UDP, or over TCP with a length before each datagram (RFC 4571).

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    sync::Mutex,
    thread,
    time::Duration,
};

pub(super) enum FarEnd {
    Udp(UdpSocket),
    Tcp {
        stream: TcpStream,
        /// The part of the next frames that has arrived.
        arrived: Mutex<Vec<u8>>,
    },
}

impl FarEnd {
    pub(super) fn udp(seen: IpAddr) -> Self {
        Self::Udp(UdpSocket::bind((seen, 0)).unwrap())
    }

    pub(super) fn tcp(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::Tcp {
            stream,
            arrived: Mutex::default(),
        }
    }

    /// The length of the next datagram; `None` if none has arrived, or the server is gone.
    pub(super) fn receive(&self, buffer: &mut [u8], wait: Duration) -> Option<usize> {
        match self {
            Self::Udp(socket) => {
                socket.set_read_timeout(Some(wait)).unwrap();
                socket.recv(buffer).ok()
            }
            Self::Tcp { stream, arrived } => {
                let mut arrived = arrived.lock().unwrap();
                if let Some(length) = next(&mut arrived, buffer) {
                    return Some(length);
                }
                stream.set_read_timeout(Some(wait)).unwrap();
                let mut chunk = [0; 16 << 10];
                let mut reader = stream;
                match reader.read(&mut chunk) {
                    Ok(length @ 1..) => arrived.extend_from_slice(&chunk[..length]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    // The server is gone, and reading does not wait any more.
                    Ok(0) | Err(_) => thread::sleep(wait),
                }
                next(&mut arrived, buffer)
            }
        }
    }

    pub(super) fn send(&self, datagram: &[u8], server: SocketAddr) {
        // Err: the server is gone.
        let _ = match self {
            Self::Udp(socket) => socket.send_to(datagram, server).map(|_| ()),
            Self::Tcp { stream, .. } => {
                let length = u16::try_from(datagram.len()).unwrap().to_be_bytes();
                let mut writer = stream;
                writer.write_all(&[&length, datagram].concat())
            }
        };
    }
}

/// Takes a datagram that has arrived as a whole.
fn next(arrived: &mut Vec<u8>, buffer: &mut [u8]) -> Option<usize> {
    let (head, rest) = arrived.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*head));
    buffer[..length].copy_from_slice(rest.get(..length)?);
    arrived.drain(..head.len() + length);
    Some(length)
}
