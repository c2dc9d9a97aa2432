//! Random schedules of publishes, verdicts, syncs that fail and deaths: what was told of a publish stays true.

use std::collections::BTreeMap;
use std::path::Path;

use super::tests::order;
use super::*;
use crate::outbox::Damaged;

/// What the application was told of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing yet; it waits in the queue.
    Nothing,
    /// It is on the disk, and the session has it under this name.
    Queued(Token),
    /// A verdict is on its way to the disk.
    Judged,
    /// It is in the log, or nobody knows: it may be sent again under its identity.
    MayGoAgain,
    /// It is not in the log and will not be.
    Never,
}

struct World {
    chance: u64,
    dir: tempfile::TempDir,
    keeper: Keeper,
    /// By the number in its body, which is the order of calls.
    told: BTreeMap<u8, Told>,
    waiting: BTreeMap<Token, u8>,
    next_token: u64,
    deaths: u32,
    nevers: u32,
}

fn keeper(dir: &Path) -> Keeper {
    let mut disk = Disk::open(dir, "chat:4275", "ann", Damaged::Refuse, 1).unwrap();
    disk.count_failing_syncs();
    Keeper::new(disk, Writing::Inline)
}

impl World {
    fn new(seed: u64) -> World {
        Disk::fail_syncs(0);
        let dir = tempfile::tempdir().unwrap();
        let keeper = keeper(dir.path());
        let (told, waiting) = (BTreeMap::new(), BTreeMap::new());
        World { chance: seed, dir, keeper, told, waiting, next_token: 0, deaths: 0, nevers: 0 }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn token(&mut self, n: u8) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.waiting.insert(token, n);
        token
    }

    fn step(&mut self) {
        match self.below(12) {
            0..=3 if self.told.len() < 250 => {
                let n = self.told.len() as u8 + 1;
                self.told.insert(n, Told::Nothing);
                self.keeper.push(order(n));
            }
            4..=6 => self.judge(),
            7 => Disk::fail_syncs(self.below(4) as u32),
            8 => self.dies(),
            _ => self.works(),
        }
    }

    /// The session says something of one of its publishes.
    fn judge(&mut self) {
        let open = self.told.iter().filter_map(|(n, told)| match told {
            Told::Queued(token) => Some((*n, *token)),
            _ => None,
        });
        let open: Vec<(u8, Token)> = open.collect();
        if open.is_empty() {
            return;
        }
        let (n, token) = open[self.below(open.len() as u64) as usize];
        let answer = match self.below(4) {
            0 => Ok(Frame::Ok(hark_protocol::Ok {})),
            1 => Err(Failure::Unknown),
            2 => Err(Failure::Abandoned),
            _ => Err(Failure::Offline),
        };
        self.told.insert(n, Told::Judged);
        if let Some(answer) = self.keeper.judge(token, answer) {
            self.hears(token, &answer);
        }
    }

    fn hears(&mut self, token: Token, answer: &Answer) {
        let n = self.waiting.remove(&token).expect("everybody hears once");
        let told = match answer {
            Ok(_) | Err(Failure::Unknown | Failure::InDoubt(_)) => Told::MayGoAgain,
            Err(_) => Told::Never,
        };
        self.told.insert(n, told);
    }

    fn works(&mut self) {
        let mut out = Vec::new();
        self.keeper.next(|_| None, &mut out);
        for kept in out {
            match kept {
                Kept::Stored(order, entry) => {
                    let n = order.publish.body[0];
                    let token = self.token(n);
                    self.keeper.note(token, entry);
                    self.told.insert(n, Told::Queued(token));
                }
                Kept::Failed(order, Failure::InDoubt(_)) => {
                    self.told.insert(order.publish.body[0], Told::MayGoAgain);
                }
                Kept::Failed(order, _) => {
                    self.told.insert(order.publish.body[0], Told::Never);
                }
                Kept::Answer(token, answer) => self.hears(token, &answer),
                Kept::Order(_) => panic!("nothing else was ordered"),
            }
        }
    }

    /// The process dies, and the next one finds the files as they are.
    fn dies(&mut self) {
        self.deaths += 1;
        Disk::fail_syncs(0);
        let dir = tempfile::tempdir().unwrap();
        for folder in std::fs::read_dir(self.dir.path()).unwrap() {
            let (folder, log) = (folder.unwrap(), "outbox.log");
            let into = dir.path().join(folder.file_name());
            std::fs::create_dir(&into).unwrap();
            std::fs::copy(folder.path().join(log), into.join(log)).unwrap();
        }
        (self.keeper, self.dir) = (keeper(dir.path()), dir);
        self.waiting.clear();
        let found: Vec<(u8, u64)> =
            self.keeper.found().into_iter().map(|(entry, publish)| (publish.body[0], entry)).collect();
        assert!(found.is_sorted(), "they are sent in the order of calls: {found:?}");
        let is_found = |n: u8| found.iter().any(|(found, _)| *found == n);
        for (n, told) in &mut self.told {
            match *told {
                Told::Queued(_) => assert!(is_found(*n), "{n} was queued, and is lost"),
                Told::Never => assert!(!is_found(*n), "{n} was never to be sent, and will be"),
                _ => {}
            }
            self.nevers += u32::from(*told == Told::Never);
            if *told == Told::Nothing {
                // Nobody knows of it any more, unless it comes up.
                *told = Told::MayGoAgain;
            }
        }
        for (n, entry) in found {
            let token = self.token(n);
            self.keeper.note(token, entry);
            self.told.insert(n, Told::Queued(token));
        }
    }
}

#[test]
fn what_was_told_of_a_publish_stays_true_whatever_fails_and_whenever_the_process_dies() {
    let (mut deaths, mut nevers) = (0, 0);
    for seed in 0..CASES {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step();
        }
        world.dies();
        (deaths, nevers) = (deaths + world.deaths, nevers + world.nevers);
    }
    assert!(deaths > CASES as u32 * 3 && nevers > deaths, "{deaths} deaths, {nevers} times a no held");
}

const CASES: u64 = 60;
