//! The certificate of the pages: the operator's, or one that the server makes for itself and keeps.

use super::Options;
use super::accept::Tls;
use crate::files;
use crate::seal::Vault;
use anyhow::{Context, Result, anyhow, ensure};
use nix::unistd::gethostname;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// Both in one file, in the data folder.
pub(crate) const FILE: &str = "web.pem";

/// Years that the server's own certificate is good for: whoever trusts it has compared its fingerprint.
const YEARS: i32 = 10;

/// Certificate and key, ready for use.
pub(super) fn tls(options: &Options, vault: &Vault) -> Result<Tls> {
    match &options.certificate {
        Some((chain, key)) => named(chain, key),
        None => {
            let (both, path) = own(vault)?;
            ready(&both, &both, &path)
        }
    }
}

/// The operator's.
fn named(chain: &Path, key: &Path) -> Result<Tls> {
    ready(&read(chain)?, &files::read_named(key, "--web-key")?, chain)
}

fn ready(chain: &str, key: &str, named: &Path) -> Result<Tls> {
    let (chain, key) =
        parse(chain, key).with_context(|| format!("{} is of no use", named.display()))?;
    let fingerprint = fingerprint(chain.first().context("there is no certificate")?);
    let config = config(chain, key).with_context(|| {
        format!("{}: certificate and key do not fit each other", named.display())
    })?;
    Ok(Tls { config: Arc::new(config), fingerprint })
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth();
    Ok(config.with_single_cert(chain, key)?)
}

/// Serves with a renewed certificate as soon as its files are others, for ever: nobody is signed out for it.
pub(super) async fn follow(
    (chain, key): (PathBuf, PathBuf),
    every: Duration,
    serve: watch::Sender<Arc<ServerConfig>>,
) {
    let mut known = [stamp(&chain), stamp(&key)];
    loop {
        tokio::time::sleep(every).await;
        let now = [stamp(&chain), stamp(&key)];
        if now == known {
            continue;
        }
        known = now;
        match named(&chain, &key) {
            Ok(Tls { config, fingerprint }) => {
                log::info!("the pages have another certificate now, {fingerprint}");
                serve.send_replace(config);
            }
            Err(error) => log::warn!("{error:#}; the pages keep the certificate that they have"),
        }
    }
}

/// Changes when a file does.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

type Pem = zeroize::Zeroizing<String>;

fn read(path: &Path) -> Result<Pem> {
    fs::read_to_string(path)
        .map(Pem::new)
        .with_context(|| format!("cannot read {}", path.display()))
}

fn own(vault: &Vault) -> Result<(Pem, PathBuf)> {
    let path = vault.path(FILE);
    let both = match vault.read(FILE)? {
        Some(both) => both,
        None => {
            let made = make()?;
            vault.write_new(FILE, &made)?;
            log::info!("made a certificate for the pages, in {}", path.display());
            made
        }
    };
    Ok((both, path))
}

/// A new one. It is for the names that are known of this machine.
fn make() -> Result<Pem> {
    let host = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(addresses().filter(|at| !names.contains(at)).collect::<Vec<_>>());
    // A certificate has no other letters.
    if !host.is_empty() && host.is_ascii() && !names.contains(&host) {
        names.insert(0, host);
    }
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, names.first().map_or("tsg-server", String::as_str));
    named.push(DnType::OrganizationName, "TSG key server");
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = named;
    let year = 1970 + i32::try_from(crate::clock::Reading::now()?.wall / 31_556_952_000)?;
    params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + YEARS, 1, 1);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Pem::new(format!("{}{}", certificate.pem(), *Pem::new(key.serialize_pem()))))
}

fn addresses() -> impl Iterator<Item = String> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    all.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|at| at.ip().to_string());
        let global = |ip: &std::net::Ipv6Addr| !ip.is_unicast_link_local();
        let v6 =
            || address.as_sockaddr_in6().map(|at| at.ip()).filter(global).map(|ip| ip.to_string());
        v4.or_else(v6)
    })
}

type Parsed = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Do certificate and key in one text belong together?
pub(crate) fn check(both: &str) -> Result<()> {
    let (chain, key) = parse(both, both)?;
    config(chain, key).map(drop).context("certificate and key do not fit each other")
}

fn parse(chain: &str, key: &str) -> Result<Parsed> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| anyhow!("it holds no certificate in PEM: {error}"))?;
    ensure!(!chain.is_empty(), "it holds no certificate in PEM");
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| anyhow!("its key is no private key in PEM: {error}"))?;
    Ok((chain, key))
}

/// As browsers show it: SHA-256 in pairs of digits.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let hash = Sha256::digest(certificate);
    let pairs: Vec<_> = hash.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("SHA-256 {}", pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(certificate: Option<(&Path, &Path)>) -> Options {
        let certificate = certificate.map(|(a, b)| (a.to_owned(), b.to_owned()));
        Options { address: "*".to_owned(), port: 0, certificate, plain: false }
    }

    #[test]
    fn it_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path(), None).unwrap();
        let first = tls(&options(None), &vault).unwrap().fingerprint;
        let again = tls(&options(None), &vault).unwrap().fingerprint;
        assert_eq!(first, again);
        assert_eq!(first.len(), "SHA-256 ".len() + 95);
    }

    #[test]
    fn what_is_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::open(folder.path(), None).unwrap();
        let path = |name: &str| folder.path().join(name);
        let pem = make().unwrap();
        let other = make().unwrap();
        let only = |text: &str, kind: &str| {
            let at = text.find(&format!("-----BEGIN {kind}")).unwrap();
            let end = text[at..].find("-----END").unwrap() + at;
            let line = text[end..].find('\n').unwrap() + end + 1;
            text[at..line].to_owned()
        };
        files::write_new_secret(&path("good.crt"), only(&pem, "CERT").as_bytes()).unwrap();
        files::write_new_secret(&path("good.key"), only(&pem, "PRIV").as_bytes()).unwrap();
        files::write_new_secret(&path("other.key"), only(&other, "PRIV").as_bytes()).unwrap();
        files::write_new_secret(&path("none"), b"hello").unwrap();
        let told = |chain: &str, key: &str| {
            let options = options(Some((&path(chain), &path(key))));
            tls(&options, &vault).err().map(|error| format!("{error:#}")).unwrap_or_default()
        };
        assert_eq!(told("good.crt", "good.key"), "");
        assert!(told("good.crt", "other.key").contains("do not fit each other"));
        assert!(told("none", "good.key").contains("holds no certificate"));
        assert!(told("good.crt", "none").contains("no private key"));
        assert!(told("good.crt", "gone").contains("is not there"));
    }

    #[test]
    fn a_renewed_one_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let both = folder.path().join("both.pem");
        files::write_new_secret(&both, make().unwrap().as_bytes()).unwrap();
        let first = named(&both, &both).unwrap();
        let (serve, mut served) = watch::channel(first.config);
        let replace = |content: &[u8]| {
            let beside = folder.path().join("renewed");
            files::write_new_secret(&beside, content).unwrap();
            fs::rename(beside, &both).unwrap();
        };
        let every = Duration::from_millis(5);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let task = tokio::spawn(follow((both.clone(), both.clone()), every, serve));
            tokio::time::sleep(4 * every).await;
            assert!(!served.has_changed().unwrap());
            replace(b"half of it");
            tokio::time::sleep(20 * every).await;
            assert!(!served.has_changed().unwrap());
            replace(make().unwrap().as_bytes());
            let changed = tokio::time::timeout(Duration::from_secs(20), served.changed());
            changed.await.unwrap().unwrap();
            task.abort();
        });
    }
}
