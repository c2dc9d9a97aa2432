//! A real `harkd` in a folder of its own, on ports that nobody else uses.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use crate::client::Person;
use crate::process::{Ended, Process, command, program, search_path};
use crate::scale::PATIENCE;

/// A server's folder and its ports, whether it runs or not.
pub struct Place {
    folder: PathBuf,
    /// Removes the folder, where it is ours.
    _temporary: Option<TempDir>,
    listen: SocketAddr,
    metrics: SocketAddr,
    /// What the configuration has besides the ports, as variables of the environment.
    settings: Vec<(String, String)>,
}

/// A server that runs.
pub struct Server {
    process: Process,
    place: Place,
}

impl Default for Place {
    fn default() -> Place {
        Place::new()
    }
}

impl Place {
    /// An empty folder and two free ports.
    ///
    /// # Panics
    /// When the machine has neither.
    pub fn new() -> Place {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        // Both are held until both are known, so that they differ.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [listen, metrics] = ports.map(|port| port.local_addr().expect("bound above"));
        let folder = temporary.path().to_owned();
        Place { folder, _temporary: Some(temporary), listen, metrics, settings: Vec::new() }
    }

    /// A folder that is there and stays there, and two free ports on which a server can be started again and again:
    /// below those from which the system connects, or a client that asks for a server that is down could take
    /// its port.
    ///
    /// # Panics
    /// When the machine has no free ports.
    pub fn within(folder: PathBuf) -> Place {
        // Ports that were found free are not held: who comes next in this process goes on behind them.
        static TAKEN: AtomicU16 = AtomicU16::new(0);
        let begin = 10_000 + u16::try_from(std::process::id() % 1_000).expect("below 1000") * 20;
        let free = || loop {
            let port = begin + TAKEN.fetch_add(1, Ordering::Relaxed) % 2_000;
            if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
                break listener;
            }
        };
        let [listen, metrics] = [(); 2].map(|()| free());
        let [listen, metrics] = [listen, metrics].map(|port| port.local_addr().expect("bound above"));
        Place { folder, _temporary: None, listen, metrics, settings: Vec::new() }
    }

    /// Sets a key of the configuration by its variable, for every start from now on.
    pub fn set(&mut self, variable: &str, value: impl ToString) {
        self.settings.retain(|(known, _)| known != variable);
        self.settings.push((variable.to_owned(), value.to_string()));
    }

    /// Where clients connect.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// The folder in which the server is started; its data folder is in there.
    pub fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("hark-data")
    }

    /// What a file in the data folder says, without the line's end.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn secret(&self, file: &str) -> String {
        let path = self.data().join(file);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim().to_owned()
    }

    /// `harkd` with its default configuration but for the ports, not yet started.
    pub fn command(&self) -> Command {
        let mut harkd = command(program("harkd"));
        harkd.current_dir(&self.folder).env("PATH", search_path());
        harkd.env("HARKD_LISTEN", self.listen.to_string());
        harkd.env("HARKD_METRICS_LISTEN", self.metrics.to_string());
        harkd.envs(self.settings.iter().map(|(variable, value)| (variable, value)));
        harkd
    }

    /// Starts `harkd` and waits until it says that it is ready.
    #[track_caller]
    pub fn start(self) -> Server {
        let process = Process::start("harkd", self.command());
        let address = self.listen.to_string();
        process.said("that it listens", |line| line.contains(&address).then_some(()));
        let server = Server { process, place: self };
        server.connect();
        server
    }

    /// Starts `harkd` where it is expected to give up, and returns how it did.
    #[track_caller]
    pub fn start_in_vain(&self) -> Ended {
        Process::start("harkd", self.command()).end()
    }
}

impl Server {
    /// A server with an empty data folder.
    #[track_caller]
    pub fn start() -> Server {
        Place::new().start()
    }

    /// Where it lives.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The process, to wait for what it says.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// A TCP connection to the port for clients.
    ///
    /// # Panics
    /// When the server does not accept it.
    #[track_caller]
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.place.listen).expect("the server listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .expect("not 0");
        stream
    }

    /// Somebody who knows the server, but has no account.
    pub fn stranger(&self, name: &str) -> Person {
        Person::new(name, &self.place.listen.to_string(), self.place.data().join("tls/ca.pem"))
    }

    /// Somebody with an account.
    #[track_caller]
    pub fn person(&self, name: &str) -> Person {
        self.stranger(name).register(&self.place.secret("registration-token"))
    }

    /// What a page of the metrics listener says: status code and body.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn page(&self, path: &str) -> (u16, String) {
        self.try_page(path).unwrap_or_else(|error| panic!("the metrics listener does not answer: {error}"))
    }

    /// The same from a server that may be ending.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn try_page(&self, path: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.place.metrics)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not an HTTP answer: {answer}")))?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status, body.to_owned()))
    }

    /// The sum of all series of one metric.
    ///
    /// # Panics
    /// When there are no metrics.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        self.try_metric(name).unwrap_or_else(|error| panic!("no metrics: {error}"))
    }

    /// The same from a server that may be ending.
    ///
    /// # Errors
    /// When there are no metrics.
    pub fn try_metric(&self, name: &str) -> io::Result<f64> {
        let (status, page) = self.try_page("/metrics")?;
        if status != 200 {
            return Err(io::Error::other(page));
        }
        let of_metric =
            |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        Ok(page.lines().filter(of_metric).filter_map(value).sum())
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    #[track_caller]
    pub fn kill(self) -> Place {
        self.process.kill();
        self.place
    }

    /// SIGTERM: returns how it ended, and the place.
    #[track_caller]
    pub fn terminate(self) -> (Ended, Place) {
        (self.process.terminate(), self.place)
    }

    /// Stops in good order and starts again, in the same place.
    #[track_caller]
    pub fn restart(self) -> Server {
        let (ended, place) = self.terminate();
        ended.done();
        place.start()
    }
}
