//! Both families of addresses, where the system has both.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use rustix::io::Errno;

/// Binds an address with `bind`. If that is every address of both families and the system has no
/// IPv6, binds every IPv4 address instead.
///
/// # Errors
/// If the address cannot be bound.
pub(super) fn bind<T>(
    address: SocketAddr,
    mut bind: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    match bind(address) {
        Err(error) if is_for_all(address) && lacks_ipv6(&error) => {
            let ipv4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            let bound = bind(ipv4)?;
            tracing::warn!(address = %ipv4, "the system has no IPv6: clients need IPv4");
            Ok(bound)
        }
        other => other,
    }
}

fn is_for_all(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

fn lacks_ipv6(error: &io::Error) -> bool {
    // The kernel has none, or has none at the moment.
    let known = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|errno| known.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is bound on a system that refuses IPv6 with this error.
    fn bound(address: &str, refusal: Errno) -> Result<SocketAddr, Option<Errno>> {
        let bound = bind(address.parse().unwrap(), |address| {
            if address.is_ipv6() {
                return Err(refusal.into());
            }
            Ok(address)
        });
        bound.map_err(|error| Errno::from_io_error(&error))
    }

    #[test]
    fn without_ipv6_every_ipv4_address_is_bound() {
        let ipv4 = "0.0.0.0:8189".parse().unwrap();
        for refusal in [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL] {
            assert_eq!(bound("[::]:8189", refusal), Ok(ipv4));
        }
    }

    #[test]
    fn other_failures_are_told() {
        assert_eq!(bound("[::]:1", Errno::ACCESS), Err(Some(Errno::ACCESS)));
        let refusal = Errno::ADDRNOTAVAIL;
        assert_eq!(bound("[::1]:1", refusal), Err(Some(refusal)));
    }
}
