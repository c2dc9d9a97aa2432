//! What `harkd` says when it is ready: what it made or found, how to trust it, and what to paste next.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::{Access, DataFolder, Origin};
use crate::tls::Fingerprint;

/// Everything that the greeting tells.
#[derive(Debug)]
pub struct Greeting<'a> {
    /// The data folder.
    pub folder: &'a DataFolder,
    /// How to get in.
    pub access: &'a Access,
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where the metrics are.
    pub metrics: Option<SocketAddr>,
    /// The certificate's fingerprint.
    pub fingerprint: Fingerprint,
    /// The file with the own authority; `None` with a certificate from elsewhere.
    pub authority: Option<PathBuf>,
    /// How the command `hark` is called from here.
    pub hark: HarkCommand,
}

/// How the command `hark` is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HarkCommand(String);

impl HarkCommand {
    /// `hark` lies beside `harkd` as a rule: as a bare word where the shell finds it, else by its path. In a
    /// checkout where only the server was built so far, cargo builds it.
    pub fn beside(harkd: &Path, search_path: &[PathBuf], working_folder: &Path) -> HarkCommand {
        let folder = harkd.parent().unwrap_or(Path::new("."));
        let hark = folder.join("hark");
        if search_path.iter().any(|searched| searched.join("hark").is_file()) {
            return HarkCommand("hark".to_owned());
        }
        if hark.is_file() {
            return HarkCommand(quoted(hark.strip_prefix(working_folder).unwrap_or(&hark)));
        }
        let is_in_checkout = folder.parent().is_some_and(|target| target.join("CACHEDIR.TAG").is_file());
        HarkCommand(match folder.file_name().and_then(|name| name.to_str()) {
            Some("release") if is_in_checkout => "cargo run --release --bin hark --".to_owned(),
            Some("debug") if is_in_checkout => "cargo run --bin hark --".to_owned(),
            _ => "hark".to_owned(),
        })
    }
}

impl Greeting<'_> {
    fn is_first(&self) -> bool {
        self.folder.origin == Origin::Made || self.access.admin.origin == Origin::Made
    }

    fn lines_about_access(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.access.admin.password_file.as_deref().map(Path::display);
        let admin = match (&self.access.admin.password, file) {
            (Some(password), Some(file)) => {
                format!("account admin, password {}, also in {file}", password.expose())
            }
            (_, Some(file)) => format!("account admin; its first password is in {file}"),
            (_, None) => "account admin".to_owned(),
        };
        entry(f, "admin", &admin)?;
        match &self.access.registration {
            Some(registration) => {
                entry(f, "register", &format!("people need the token in {}", registration.file.display()))
            }
            None => entry(f, "register", "off; `hark admin user add NAME` makes accounts"),
        }
    }

    fn commands(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HarkCommand(hark) = &self.hark;
        let trust = match &self.authority {
            Some(file) => format!("--ca {}", quoted(file)),
            None => format!("--pin {}", self.fingerprint),
        };
        let server = reachable(self.listen);
        writeln!(f, "\nIn another terminal, in this folder:\n")?;
        match &self.access.registration {
            Some(registration) => {
                let token = registration.token.expose();
                writeln!(f, "  {hark} --server {server} {trust} register alice --token {token}")?;
            }
            None => writeln!(f, "  {hark} --server {server} {trust} login admin")?,
        }
        writeln!(f, "  {hark} create lobby")?;
        writeln!(f, "  {hark} chat lobby")
    }
}

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_first() { "made" } else { "found" };
        entry(f, "data", &format!("{verb} {}", self.folder.path.display()))?;
        if let Some(authority) = &self.authority {
            entry(f, "authority", &format!("{}, which clients are given to trust", authority.display()))?;
        }
        entry(f, "fingerprint", &self.fingerprint.to_string())?;
        self.lines_about_access(f)?;
        if let Some(metrics) = self.metrics {
            entry(f, "metrics", &format!("http://{metrics}/metrics, /healthz, /readyz"))?;
        }
        entry(f, "ready", &format!("{}, TLS 1.3; Ctrl-C stops", self.listen))?;
        if self.is_first() { self.commands(f) } else { Ok(()) }
    }
}

fn entry(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "  {name:<12} {text}")
}

/// An address by which a client on this machine reaches a server that listens at `listen`.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// `path` as a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@:".contains(c);
    match text.chars().all(is_plain) {
        true => text.into_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}
