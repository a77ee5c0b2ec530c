//! Opens the operator's own port, and makes its token if there is none.

use super::StartError;
use crate::{
    access::{Grants, Right, Rule, Secret},
    config::{AdminAddress, Config},
    http::AdminListener,
};

/// Listens where the configuration says, if anywhere.
pub(super) async fn listen(config: &Config) -> Result<Option<AdminListener>, StartError> {
    let address = &config.admin.listen;
    let listener = match address {
        AdminAddress::Off => return Ok(None),
        AdminAddress::Tcp(address) => AdminListener::tcp(*address).await,
        AdminAddress::Unix(path) => AdminListener::unix(path),
    };
    let refused = |cause| StartError::Listen {
        protocol: "HTTP",
        address: address.to_string(),
        cause,
        option: "admin.listen",
    };
    Ok(Some(listener.map_err(refused)?))
}

/// Announces the port. At an address it needs a token: if none with the right is configured, one is
/// made and logged, once.
pub(super) fn token(
    config: &Config,
    admin: Option<&AdminListener>,
) -> Result<Option<Rule>, StartError> {
    let Some(admin) = admin else {
        return Ok(None);
    };
    let Some(address) = admin.address() else {
        tracing::info!(admin = %config.admin.listen, "listening for the operator");
        return Ok(None);
    };
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "the operator's port is reachable from other machines, without TLS: tokens can be \
             overheard. Set admin.listen to an address that only the operator can reach"
        );
    }
    if config.access.grants(Right::Admin) {
        tracing::info!(
            admin = %format_args!("http://{address}/admin"),
            "listening for the operator"
        );
        return Ok(None);
    }
    let (secret, text) = Secret::random().map_err(|cause| StartError::System {
        what: "make a token for the operator",
        cause,
    })?;
    let admin = format_args!("http://{address}/admin?token={text}");
    // Nobody can use the port without it, so that it is shown even if only warnings are logged.
    if tracing::enabled!(tracing::Level::INFO) {
        tracing::info!(
            %admin,
            "listening for the operator; the token is valid until the server stops"
        );
    } else {
        tracing::warn!(
            %admin,
            "listening for the operator; the token is valid until the server stops"
        );
    }
    let grants = Grants {
        admin: true,
        ..Grants::default()
    };
    Ok(Some(Rule::for_token("admin.listen", &secret, grants)))
}
