//! One server in a folder, the proxy before it, and the accounts that use it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hark_sdk::{AccountName, Client, Credentials, NewRoom, Offline, Reconnect, Room, Token, Trust};
use hark_tests::server::{Place, Server};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::Trouble;
use crate::dump::{self, RoomRow};
use crate::proxy::Proxy;

/// The password of every account.
const PASSWORD: &str = "correct horse battery";

/// How long anything that must succeed at last may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A server, its proxy and its folder.
pub struct World {
    server: Option<Server>,
    place: Option<Place>,
    proxy: Proxy,
    folder: PathBuf,
    disk: Option<Disk>,
    ca: PathBuf,
    backups: usize,
}

/// An account with a device, so that coming back costs no password.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name.
    pub name: String,
    token: Token,
}

/// How a client reaches the server.
#[derive(Clone, Debug)]
pub struct Way {
    address: String,
    ca: PathBuf,
}

/// A backup, and where its logs end.
#[derive(Clone, Debug)]
pub struct Backup {
    folder: PathBuf,
    /// The rooms as it has them.
    pub rooms: Vec<RoomRow>,
}

/// A small file system of its own, so that it can be full.
#[derive(Debug)]
struct Disk {
    mounted: PathBuf,
}

impl World {
    /// Starts a server in an empty folder, with its data on a disk of so many mebibytes where one can be mounted.
    ///
    /// # Errors
    /// When there are no ports. Panics of the harness say why a server does not start.
    pub async fn start(folder: &Path, disk_mib: Option<usize>) -> Result<World, Trouble> {
        let mut place = Place::within(folder.to_owned());
        place.set("HARKD_LIMITS_HEARTBEAT_INTERVAL_MS", 1_000);
        place.set("HARKD_LIMITS_CONNECTIONS_PER_ADDRESS_MAX", 10_000);
        place.set("HARKD_LIMITS_UNAUTHENTICATED_PER_ADDRESS_MAX", 2_000);
        place.set("HARKD_LIMITS_UNAUTHENTICATED_MAX", 2_000);
        place.set("HARKD_LIMITS_CONNECTIONS_PER_ACCOUNT_MAX", 10_000);
        place.set("HARKD_LIMITS_SESSIONS_PER_DEVICE_MAX", 10_000);
        place.set("HARKD_LOG_LEVEL", "warn");
        let disk = disk_mib.map(|mib| Disk::mount(&place.data(), mib)).transpose()?;
        let (proxy, ca) = (Proxy::start(place.listen()).await?, place.data().join("tls/ca.pem"));
        let server = Some(start(place).await?);
        Ok(World { server, place: None, proxy, folder: folder.to_owned(), disk, ca, backups: 0 })
    }

    /// The proxy.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The folder of the run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("hark-data")
    }

    /// The running server.
    ///
    /// # Errors
    /// When it does not run.
    pub fn server(&self) -> Result<&Server, Trouble> {
        self.server.as_ref().ok_or_else(|| "the server does not run".into())
    }

    /// The server's process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<Pid, Trouble> {
        Ok(self.server()?.process().pid())
    }

    /// Whether the server's process has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.process().has_ended())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self) -> Result<(), Trouble> {
        let server = self.server.take().ok_or("the server does not run")?;
        self.place = Some(tokio::task::spawn_blocking(move || server.kill()).await?);
        Ok(())
    }

    /// SIGTERM; gives the time it took.
    ///
    /// # Errors
    /// When it does not run, or does not end well.
    pub async fn terminate(&mut self) -> Result<Duration, Trouble> {
        let server = self.server.take().ok_or("the server does not run")?;
        let begun = Instant::now();
        let (ended, place) = tokio::task::spawn_blocking(move || server.terminate()).await?;
        self.place = Some(place);
        match ended.code {
            Some(0) => Ok(begun.elapsed()),
            code => Err(format!("harkd ended with {code:?}:\n{}", ended.err).into()),
        }
    }

    /// Starts it again where it was.
    ///
    /// # Errors
    /// When it runs, or does not start.
    pub async fn restart(&mut self) -> Result<(), Trouble> {
        let place = self.place.take().ok_or("the server runs")?;
        self.server = Some(start(place).await?);
        Ok(())
    }

    /// Makes a backup while the server runs.
    ///
    /// # Errors
    /// What `harkd backup` says.
    pub async fn backup(&mut self) -> Result<Backup, Trouble> {
        self.backups += 1;
        let folder = self.folder.join(format!("backup-{}", self.backups));
        let mut command = self.server()?.place().command();
        command.arg("backup").arg(&folder);
        run(command).await?;
        let rooms = dump::rooms(&dump::open(&folder)?)?;
        Ok(Backup { folder, rooms })
    }

    /// Has `harkd verify` read every record, room and file, while the server is down.
    ///
    /// # Errors
    /// What it finds wrong.
    pub async fn verify(&self) -> Result<(), Trouble> {
        let mut command = self.place.as_ref().ok_or("the server runs")?.command();
        command.arg("verify");
        run(command).await
    }

    /// Puts a backup in the place of the data, while the server is down.
    ///
    /// # Errors
    /// What `harkd restore` says.
    pub async fn restore(&mut self, backup: &Backup) -> Result<(), Trouble> {
        let mut command = self.place.as_ref().ok_or("the server runs")?.command();
        command.arg("restore").arg(&backup.folder).arg("--force");
        run(command).await?;
        // What was moved aside would fill the small disk.
        for entry in std::fs::read_dir(self.data())? {
            let path = entry?.path();
            if path.is_dir() && path.join("log.db").exists() {
                std::fs::remove_dir_all(path)?;
            }
        }
        Ok(std::fs::remove_dir_all(&backup.folder)?)
    }

    /// Sends the server a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), Trouble> {
        self.server()?.process().signal(signal);
        Ok(())
    }

    /// The way to the server through the proxy.
    pub fn way(&self) -> Way {
        Way { address: self.proxy.address().to_string(), ca: self.ca.clone() }
    }

    /// The way to the server without the proxy.
    ///
    /// # Errors
    /// When it does not run.
    pub fn direct(&self) -> Result<Way, Trouble> {
        Ok(Way { address: self.server()?.place().listen().to_string(), ca: self.ca.clone() })
    }

    /// Makes an account with a device.
    ///
    /// # Errors
    /// What the SDK says.
    pub async fn account(&self, name: &str) -> Result<Account, Trouble> {
        let way = self.direct()?;
        let token = self.server()?.place().secret("registration-token");
        let builder = Client::builder(&way.address).trust(Trust::CaFile(way.ca.clone()));
        builder.clone().register(&token, name, PASSWORD, "").await?;
        let login = Credentials::password_for_device(name, PASSWORD, "torture")?;
        let client = builder.credentials(login).connect().await?;
        let token = client.device_token().ok_or("a login for a device gives a token")?;
        client.close().await;
        Ok(Account { name: name.to_owned(), token })
    }

    /// Makes public rooms of which all these accounts are members.
    ///
    /// # Errors
    /// What the SDK says.
    pub async fn rooms(&self, names: &[&str], accounts: &[Account]) -> Result<(), Trouble> {
        for (number, account) in accounts.iter().enumerate() {
            let client = self.direct()?.client(account, 8).await?;
            for name in names {
                if number == 0 {
                    client.create_room(NewRoom::public(*name)).await?;
                } else {
                    client.join(name).await?;
                }
            }
            client.close().await;
        }
        Ok(())
    }

    /// Sets how many descriptors the server may have open; `None` sets what it had.
    ///
    /// # Errors
    /// When it does not run.
    pub fn limit_descriptors(&self, count: Option<usize>) -> Result<(), Trouble> {
        let ours = getrlimit(Resource::Nofile);
        let current = count.map_or(ours.current, |count| Some(count as u64));
        prlimit(Some(self.pid()?), Resource::Nofile, Rlimit { current, maximum: ours.maximum })?;
        Ok(())
    }

    /// How many descriptors the server has open.
    ///
    /// # Errors
    /// When it does not run.
    pub fn descriptors(&self) -> Result<usize, Trouble> {
        let folder = format!("/proc/{}/fd", self.pid()?.as_raw_nonzero());
        Ok(std::fs::read_dir(folder)?.count())
    }

    /// How much memory the server has in use, in bytes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn memory(&self) -> Result<u64, Trouble> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?.as_raw_nonzero()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kib: u64 = line.split_whitespace().next().ok_or("no number")?.parse()?;
        Ok(kib * 1024)
    }

    /// The sum of all series of one of the server's metrics.
    ///
    /// # Errors
    /// When it does not run.
    pub fn metric(&self, name: &str) -> Result<f64, Trouble> {
        let server = self.server()?;
        Ok(tokio::task::block_in_place(|| server.try_metric(name))?)
    }

    /// Fills the disk with a file; gives how many bytes went in.
    ///
    /// # Errors
    /// When there is no small disk.
    pub fn fill_disk(&self) -> Result<usize, Trouble> {
        let disk = self.disk.as_ref().ok_or("there is no small disk")?;
        let mut ballast = std::fs::File::create(disk.mounted.join("ballast"))?;
        let mut written = 0;
        for size in [1 << 20, 1 << 12] {
            while let Ok(count) = std::io::Write::write(&mut ballast, &vec![0; size]) {
                written += count;
            }
        }
        Ok(written)
    }

    /// Removes that file.
    ///
    /// # Errors
    /// When it is not there.
    pub fn free_disk(&self) -> Result<(), Trouble> {
        let disk = self.disk.as_ref().ok_or("there is no small disk")?;
        Ok(std::fs::remove_file(disk.mounted.join("ballast"))?)
    }

    /// Whether the disk can be full.
    pub fn has_disk(&self) -> bool {
        self.disk.is_some()
    }
}

impl Account {
    fn credentials(&self) -> Result<Credentials, Trouble> {
        Ok(Credentials::DeviceToken { name: AccountName::parse(&self.name)?, token: self.token.clone() })
    }
}

/// Runs a subcommand of `harkd` to its end.
async fn run(mut command: Command) -> Result<(), Trouble> {
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
    Err(format!("harkd ended with {}: {said}", output.status).into())
}

async fn start(place: Place) -> Result<Server, Trouble> {
    Ok(tokio::task::spawn_blocking(move || place.start()).await?)
}

impl Way {
    /// A client that keeps up to so many unanswered publishes and comes back quickly, connected at last.
    ///
    /// # Errors
    /// The last one, when patience has run out.
    pub async fn client(&self, account: &Account, unanswered_max: usize) -> Result<Client, Trouble> {
        let deadline = Instant::now() + PATIENCE;
        let reconnect = Reconnect {
            first: Duration::from_millis(40),
            cap: Duration::from_millis(400),
            attempts_max: None,
        };
        loop {
            let builder = Client::builder(&self.address)
                .trust(Trust::CaFile(self.ca.clone()))
                .credentials(account.credentials()?)
                .offline(Offline::Queue { max: unanswered_max })
                .connect_timeout(Duration::from_secs(3))
                .reconnect(reconnect);
            match builder.connect().await {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() > deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(30)).await,
            }
        }
    }
}

/// The room of that name, asked for until it is told.
///
/// # Errors
/// The last one, when patience has run out.
pub async fn room(client: &Client, name: &str) -> Result<Room, Trouble> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.room(name).await {
            Ok(room) => return Ok(room),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(30)).await,
        }
    }
}

impl Disk {
    fn mount(folder: &Path, mib: usize) -> Result<Disk, Trouble> {
        std::fs::create_dir_all(folder)?;
        let size = format!("size={mib}m,mode=0700");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder).status()?;
        if status.success() {
            Ok(Disk { mounted: folder.to_owned() })
        } else {
            Err("no tmpfs can be mounted".into())
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mounted).status();
    }
}

/// Why no small disk can be had here; `None` when one can. Found out once.
pub fn no_disk() -> Option<&'static str> {
    static FOUND: OnceLock<Option<&'static str>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        if !rustix::process::geteuid().is_root() {
            return Some("disk-full: only root can mount a small disk");
        }
        let mounted = tempfile::tempdir().map_err(Trouble::from).and_then(|it| Disk::mount(it.path(), 1));
        mounted.is_err().then_some("disk-full: no tmpfs can be mounted here")
    })
}
