//! Choices for a crash: every one of them in turn, or drawn from a seed.

use quorate_disk::model::ModelDisk;

/// Choices with more outcomes than this seed garbage; trying each of them would teach nothing.
const BRANCHES_MAX: u64 = 16;

/// A small generator of the tests' own.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 31) % count
    }
}

/// What is left of `disk` after a crash drawn from `seed`.
pub fn crashed(disk: &ModelDisk, seed: u64) -> ModelDisk {
    let mut survivor = disk.clone();
    let mut chance = Chance::new(seed);
    survivor.crash(&mut |count| chance.below(count));
    survivor
}

/// What can be left of `disk` after a crash: every outcome when there are at most `limit`; otherwise that
/// many of them, spread by seeds.
pub fn crashes(disk: &ModelDisk, limit: usize) -> Vec<ModelDisk> {
    let mut survivors = Vec::new();
    let mut path: Vec<(u64, u64)> = Vec::new();
    loop {
        let mut survivor = disk.clone();
        let mut depth = 0;
        let mut garbage = survivors.len() as u64;
        survivor.crash(&mut |count| {
            if count > BRANCHES_MAX {
                garbage += 1;
                return garbage % count;
            }
            if depth == path.len() {
                path.push((0, count));
            }
            depth += 1;
            path[depth - 1].0
        });
        survivors.push(survivor);
        if survivors.len() == limit {
            return (0..limit as u64).map(|seed| crashed(disk, seed)).collect();
        }
        while path.last().is_some_and(|(choice, count)| choice + 1 == *count) {
            path.pop();
        }
        match path.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return survivors,
        }
    }
}
