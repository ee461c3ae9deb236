//! Which peer URLs a member may have: etcd's rules (client/pkg/types/urls.go).

use crate::errors::BackendError;

/// The URLs in order, if all are such as `http://10.0.0.1:2380`: a scheme that members speak, a host with a port, and no path.
pub(crate) fn checked(urls: Vec<String>) -> Result<Vec<String>, BackendError> {
    if urls.is_empty() {
        return Err(BackendError::MemberUrlsInvalid);
    }
    let mut checked: Vec<String> = urls.iter().map(|url| url.trim().to_owned()).collect();
    if !checked.iter().all(|url| is_peer_url(url)) {
        return Err(BackendError::MemberUrlsInvalid);
    }
    checked.sort();
    Ok(checked)
}

fn is_peer_url(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    // Sockets of the local machine are no way between members here, and TLS between members is not there yet.
    if scheme != "http" || rest.contains(['/', '?', '#', '@', ' ']) {
        return false;
    }
    let Some((host, port)) = rest.rsplit_once(':') else { return false };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty() && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_with_scheme_host_and_port_and_nothing_else() {
        let urls = ["http://b:2", " http://[::1]:2380", "http://a:1"].map(str::to_owned).to_vec();
        assert_eq!(checked(urls), Ok(["http://[::1]:2380", "http://a:1", "http://b:2"].map(str::to_owned).to_vec()));
        for wrong in ["", "a:1", "http://a", "http://a:x", "http://:1", "http://::1:2", "http://a:1/b", "ftp://a:1"] {
            assert_eq!(checked(vec![wrong.to_owned()]), Err(BackendError::MemberUrlsInvalid), "{wrong}");
        }
        assert_eq!(checked(Vec::new()), Err(BackendError::MemberUrlsInvalid));
    }
}
