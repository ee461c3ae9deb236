//! Whom to ask, and whom to ask next.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};

/// The first pause between two tries; doubled up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Why settings are no settings.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// There is nobody to ask.
    #[error("no endpoints")]
    NoEndpoints,
    /// An endpoint is no address.
    #[error("{endpoint} is not an address: {why}")]
    NotAnAddress {
        /// As it was given.
        endpoint: String,
        /// In words.
        why: String,
    },
    /// TLS is not there yet.
    #[error("{endpoint}: TLS is not there yet in this version; use http://")]
    Tls {
        /// As it was given.
        endpoint: String,
    },
}

/// Whom a session asks, and how long.
#[derive(Clone, Debug)]
pub struct Settings {
    endpoints: Vec<Endpoint>,
    /// How long one member may take over one try. A server itself gives up after 7 seconds.
    pub try_timeout: Duration,
    /// How long a request is tried altogether; `None` for as long as it takes.
    pub patience: Option<Duration>,
}

impl Settings {
    /// The members of a cluster, as `host:port` or `http://host:port`; tried without end, 3 seconds each.
    ///
    /// # Errors
    /// When there is none, or one is no address.
    pub fn new<T: AsRef<str>>(endpoints: impl IntoIterator<Item = T>) -> Result<Settings, SettingsError> {
        let endpoints: Vec<Endpoint> =
            endpoints.into_iter().map(|endpoint| parse(endpoint.as_ref())).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(SettingsError::NoEndpoints);
        }
        Ok(Settings { endpoints, try_timeout: Duration::from_secs(3), patience: None })
    }
}

fn parse(endpoint: &str) -> Result<Endpoint, SettingsError> {
    if endpoint.starts_with("https://") {
        return Err(SettingsError::Tls { endpoint: endpoint.to_owned() });
    }
    let url = if endpoint.contains("://") { endpoint.to_owned() } else { format!("http://{endpoint}") };
    Endpoint::from_shared(url)
        .map_err(|why| SettingsError::NotAnAddress { endpoint: endpoint.to_owned(), why: why.to_string() })
}

/// The members, each connected when it is first asked and again when its connection is lost.
#[derive(Debug)]
pub(crate) struct Endpoints {
    channels: Vec<Channel>,
    /// The one that answered last.
    favourite: AtomicUsize,
}

impl Endpoints {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(settings: &Settings) -> Endpoints {
        let timeout = settings.try_timeout;
        let connect = |endpoint: &Endpoint| {
            endpoint.clone().connect_timeout(timeout).timeout(timeout).tcp_nodelay(true).connect_lazy()
        };
        Endpoints { channels: settings.endpoints.iter().map(connect).collect(), favourite: AtomicUsize::new(0) }
    }

    /// Whom to ask now.
    pub(crate) fn favourite(&self) -> (usize, Channel) {
        let at = self.favourite.load(Ordering::Relaxed) % self.channels.len();
        (at, self.channels[at].clone())
    }

    /// The member at this place did not help: the next one is asked, unless somebody has moved on already.
    pub(crate) fn pass_over(&self, at: usize) {
        let next = (at + 1) % self.channels.len();
        // A lost race means that another request has chosen.
        let _ = self.favourite.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// How long to wait before a try, when so many have failed. The first round over all members is made at once.
    pub(crate) fn pause_before(&self, tries: usize) -> Duration {
        match tries.checked_sub(self.channels.len()) {
            None => Duration::ZERO,
            Some(beyond) => {
                let doublings = u32::try_from(beyond / self.channels.len()).unwrap_or(u32::MAX).min(16);
                PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_hosts_with_ports_or_urls() {
        assert!(Settings::new(["127.0.0.1:2379", "http://[::1]:2379"]).is_ok());
        assert_eq!(Settings::new(Vec::<String>::new()).unwrap_err(), SettingsError::NoEndpoints);
        assert!(matches!(Settings::new(["https://x:1"]), Err(SettingsError::Tls { .. })));
        assert!(matches!(Settings::new(["not an address"]), Err(SettingsError::NotAnAddress { .. })));
    }

    #[tokio::test]
    async fn whoever_fails_is_passed_over_once_and_all_are_tried_before_any_pause() {
        let endpoints = Endpoints::new(&Settings::new(["a:1", "b:1", "c:1"]).unwrap());
        assert_eq!(endpoints.favourite().0, 0);
        endpoints.pass_over(0);
        endpoints.pass_over(0);
        assert_eq!(endpoints.favourite().0, 1);
        endpoints.pass_over(1);
        endpoints.pass_over(2);
        assert_eq!(endpoints.favourite().0, 0);
        assert_eq!(endpoints.pause_before(2), Duration::ZERO);
        assert_eq!(endpoints.pause_before(3), PAUSE_MIN);
        assert_eq!(endpoints.pause_before(6), PAUSE_MIN * 2);
        assert_eq!(endpoints.pause_before(usize::MAX), PAUSE_MAX);
    }
}
