//! The faults that a run makes, and what shows that one had an effect.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hark_checker::What;
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::Trouble;
use crate::proxy::{End, Flow, Link};
use crate::torture::Run;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// SIGKILL, with publishes in flight.
    Kill,
    /// The answers to publishes are swallowed, then the connections are cut.
    CutBeforeAck,
    /// A connection is cut behind a random byte.
    Cut,
    /// A connection is lost, and the server is not told.
    HalfOpen,
    /// Bytes come one by one.
    Dribble,
    /// Nothing moves for a while.
    Stall,
    /// Everything comes late.
    Delay,
    /// Connections are cut, and nobody comes in for a while.
    Refuse,
    /// SIGSTOP, and SIGCONT a while later.
    Pause,
    /// The disk is full for a while.
    DiskFull,
    /// The server can open no more descriptors for a while.
    Descriptors,
    /// The server is killed, and an older backup put in the place of its data.
    Restore,
}

impl Fault {
    /// Those that are made between kills.
    pub const BETWEEN_KILLS: [Fault; 11] = [
        Fault::CutBeforeAck,
        Fault::Cut,
        Fault::HalfOpen,
        Fault::Dribble,
        Fault::Stall,
        Fault::Delay,
        Fault::Refuse,
        Fault::Pause,
        Fault::DiskFull,
        Fault::Descriptors,
        Fault::Restore,
    ];

    /// Its name in a history.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::CutBeforeAck => "cut-before-ack",
            Fault::Cut => "cut",
            Fault::HalfOpen => "half-open",
            Fault::Dribble => "dribble",
            Fault::Stall => "stall",
            Fault::Delay => "delay",
            Fault::Refuse => "refuse",
            Fault::Pause => "pause",
            Fault::DiskFull => "disk-full",
            Fault::Descriptors => "descriptors",
            Fault::Restore => "restore",
        }
    }
}

/// Connections that strangers open to use up descriptors.
const STRANGERS: usize = 48;

/// The server's count of groups that it could not store.
const COMMITS_FAILED: &str = "hark_commits_failed_total";

/// Bytes of a body that fills the disk.
const LARGE: usize = 24_000;

/// Bytes that the server's write-ahead log keeps for itself, and more.
const WRITE_AHEAD_LOG: usize = 8 << 20;

/// How long a fault that waits for an effect waits.
const EFFECT: Duration = Duration::from_secs(1);

impl Run {
    /// Makes a fault and writes down whether it had an effect.
    pub(crate) async fn strike(&mut self, fault: Fault) -> Result<bool, Trouble> {
        self.allow(STRIKE_MESSAGES);
        let begun = Instant::now();
        let effective = match fault {
            Fault::Kill => self.kill(false).await?,
            Fault::CutBeforeAck => self.cut_before_ack().await,
            Fault::Cut => self.cut().await,
            Fault::HalfOpen => self.half_open().await,
            Fault::Dribble => self.bend(Flow::Dribble).await,
            Fault::Delay => {
                let late = self.chance.millis(5, 40);
                self.bend(Flow::Delay(late)).await
            }
            Fault::Stall => self.stall().await,
            Fault::Refuse => self.refuse().await,
            Fault::Pause => self.pause().await?,
            Fault::DiskFull => self.fill_disk().await?,
            Fault::Descriptors => self.use_up_descriptors().await?,
            Fault::Restore => self.restore().await?,
        };
        *self.spent.entry(fault).or_default() += begun.elapsed();
        if fault != Fault::Kill {
            self.note(fault, effective);
        }
        Ok(effective)
    }

    pub(crate) fn note(&mut self, fault: Fault, effective: bool) {
        *self.effects.entry(fault).or_default() += usize::from(effective);
        self.recorder.write("rig", What::Fault { kind: fault.name().to_owned(), effective });
    }

    /// Waits for something that the fault should bring about; false when it does not come.
    async fn wait(&self, for_most: Duration, happened: impl Fn(&Run) -> bool) -> bool {
        let deadline = Instant::now() + for_most;
        while !happened(self) {
            if Instant::now() > deadline {
                return false;
            }
            sleep(Duration::from_millis(2)).await;
        }
        true
    }

    fn some_links(&mut self) -> Vec<Arc<Link>> {
        let mut links = self.world.proxy().links();
        self.chance.shuffle(&mut links);
        links.truncate(1 + self.chance.below(3));
        links
    }

    /// Swallows what the server answers, and waits until it has answered something that was sent meanwhile.
    pub(crate) async fn swallow_acks(&mut self, messages: usize) -> (Vec<Arc<Link>>, bool) {
        let links = self.world.proxy().links();
        let up = |links: &[Arc<Link>]| links.iter().map(|link| link.up()).sum::<u64>();
        let swallowed = |links: &[Arc<Link>]| links.iter().map(|link| link.broken()).sum::<u64>();
        let before = (up(&links), swallowed(&links));
        links.iter().for_each(|link| link.set(Flow::SwallowDown));
        self.allow(messages);
        let there = links.clone();
        let effective = self
            .wait(EFFECT, move |_| up(&there) > before.0 + 100 && swallowed(&there) > before.1 + 500)
            .await;
        (links, effective)
    }

    async fn cut_before_ack(&mut self) -> bool {
        let (links, effective) = self.swallow_acks(STRIKE_MESSAGES).await;
        links.iter().for_each(|link| link.end(End::Cut));
        effective
    }

    async fn cut(&mut self) -> bool {
        let links = self.some_links();
        for link in &links {
            link.set(Flow::CutAfter(self.chance.below(4_000) as u64));
        }
        let effective = self.wait(EFFECT, |_| links.iter().any(|link| !link.is_alive())).await;
        links.iter().for_each(|link| link.end(End::Reset));
        effective
    }

    async fn half_open(&mut self) -> bool {
        let links = self.some_links();
        let effective = links.iter().any(|link| link.is_alive());
        links.iter().for_each(|link| link.end(End::HalfOpen));
        sleep(self.chance.millis(20, 100)).await;
        effective
    }

    /// Lets bytes through another way for a while.
    async fn bend(&mut self, flow: Flow) -> bool {
        let links = self.some_links();
        let broken = |links: &[Arc<Link>]| links.iter().map(|link| link.broken()).sum::<u64>();
        let before = broken(&links);
        links.iter().for_each(|link| link.set(flow));
        let there = links.clone();
        let effective = self.wait(EFFECT, move |_| broken(&there) > before + 200).await;
        sleep(self.chance.millis(10, 60)).await;
        links.iter().for_each(|link| link.set(Flow::Pass));
        effective
    }

    async fn stall(&mut self) -> bool {
        let links = self.some_links();
        links.iter().for_each(|link| link.set(Flow::Stall));
        let in_flight = self.wait(EFFECT, |run| run.tally.in_flight.load(Relaxed) > 0).await;
        sleep(self.chance.millis(30, 200)).await;
        let moved: u64 = links.iter().map(|link| link.up() + link.down()).sum();
        links.iter().for_each(|link| link.set(Flow::Pass));
        let there = links.clone();
        let sum = move |_: &Run| there.iter().map(|link| link.up() + link.down()).sum::<u64>() > moved;
        in_flight && self.wait(EFFECT, sum).await
    }

    async fn refuse(&mut self) -> bool {
        let before = self.world.proxy().refused();
        self.world.proxy().refuse(true);
        self.some_links().iter().for_each(|link| link.end(End::Reset));
        let effective = self.wait(EFFECT, |run| run.world.proxy().refused() > before).await;
        sleep(self.chance.millis(10, 100)).await;
        self.world.proxy().refuse(false);
        effective
    }

    async fn pause(&mut self) -> Result<bool, Trouble> {
        self.world.signal(Signal::STOP)?;
        let in_flight = self.wait(EFFECT, |run| run.tally.in_flight.load(Relaxed) > 0).await;
        sleep(self.chance.millis(50, 400)).await;
        self.world.signal(Signal::CONT)?;
        Ok(in_flight)
    }

    /// Fills the disk until commits fail, or the server gives up; then makes room again.
    async fn fill_disk(&mut self) -> Result<bool, Trouble> {
        let (failed, acked) = (self.world.metric(COMMITS_FAILED)?, self.tally.acked.load(Relaxed));
        self.world.fill_disk()?;
        // The write-ahead log has room that it has taken before: that has to be filled, too.
        self.tally.body_extra.store(LARGE, Relaxed);
        self.allow(WRITE_AHEAD_LOG / LARGE * 2);
        let happened = |run: &Run| {
            run.world.has_ended() || run.world.metric(COMMITS_FAILED).is_ok_and(|now| now > failed)
        };
        let effective = self.wait(4 * EFFECT, happened).await;
        self.tally.body_extra.store(0, Relaxed);
        self.world.free_disk()?;
        if self.world.has_ended() {
            self.world.kill().await?;
            self.world.restart().await?;
        }
        self.allow(STRIKE_MESSAGES);
        if !self.wait(20 * EFFECT, |run| run.tally.acked.load(Relaxed) > acked).await {
            return Err("nothing is acknowledged after the disk was full, though there is room again".into());
        }
        Ok(effective)
    }

    /// Leaves the server no descriptor for anybody else, and has strangers come.
    async fn use_up_descriptors(&mut self) -> Result<bool, Trouble> {
        let open = self.world.descriptors()?;
        self.world.limit_descriptors(Some(open + 4))?;
        let address = self.world.server()?.place().listen();
        let mut strangers = Vec::new();
        for _ in 0..STRANGERS {
            strangers.extend(TcpStream::connect(address).await);
        }
        self.some_links().iter().for_each(|link| link.end(End::Reset));
        sleep(self.chance.millis(100, 250)).await;
        let effective = self.world.descriptors()? < open + STRANGERS;
        drop(strangers);
        self.world.limit_descriptors(None)?;
        Ok(effective && self.wait(EFFECT, |run| !run.world.has_ended()).await)
    }
}

/// Messages that authors may publish for one fault.
const STRIKE_MESSAGES: usize = 120;
