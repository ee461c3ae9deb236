//! Cuts.

use super::Nemesis;
use crate::proxy::{LinkState, Rules};
use crate::schedule::{Harm, Shape};
use anyhow::Result;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::Instant;

impl Nemesis {
    pub(super) async fn cut(&self, shape: &Shape, harm: &Harm, lasts: Duration) -> Result<(String, bool)> {
        let (Shape::Isolate(victims)
        | Shape::Mute(victims)
        | Shape::Deafen(victims)
        | Shape::Split(victims)
        | Shape::Bridge(victims)) = shape;
        // Members under another fault are cut off too: nothing of it is done twice to one.
        let chosen = self.resolve(victims).await;
        let names = self.cluster.lock().await.names();
        let links = links(shape, &chosen, &names);
        let before = self.harm_done().await;
        match harm {
            Harm::Steady(state) => {
                self.set(&links, *state).await;
                tokio::time::sleep(lasts).await;
            }
            Harm::Flapping(turn) => {
                let until = Instant::now() + lasts;
                while Instant::now() < until {
                    self.set(&links, LinkState::Refused).await;
                    tokio::time::sleep(*turn).await;
                    self.set(&links, LinkState::Open).await;
                    tokio::time::sleep(*turn).await;
                }
            }
        }
        self.set(&links, LinkState::Open).await;
        let harmed = self.harm_done().await > before;
        let shape = format!("{shape:?}");
        let shape = shape.split('(').next().unwrap_or_default();
        Ok((format!("cut: {shape} {}, {harm:?} for {} ms", chosen.join(", "), lasts.as_millis()), harmed))
    }

    async fn set(&self, links: &[(String, String)], state: LinkState) {
        let rules: Rules = match state {
            LinkState::Open => Rules::new(),
            state => links.iter().map(|link| (link.clone(), state)).collect(),
        };
        self.cluster.lock().await.set_rules(rules);
    }

    async fn harm_done(&self) -> u64 {
        let cluster = self.cluster.lock().await;
        cluster.harm.pieces_held.load(Ordering::Relaxed) + cluster.harm.connections_refused.load(Ordering::Relaxed)
    }
}

/// The directed links that a shape harms.
fn links(shape: &Shape, chosen: &[String], names: &[String]) -> Vec<(String, String)> {
    let is_chosen = |name: &String| chosen.contains(name);
    // Around a bridge the others fall into two sides, by their order.
    let others: Vec<&String> = names.iter().filter(|name| !is_chosen(name)).collect();
    let is_left = |name: &String| others.iter().position(|other| *other == name).is_some_and(|at| at % 2 == 0);
    let harms = |from: &String, to: &String| match shape {
        Shape::Isolate(_) | Shape::Split(_) => is_chosen(from) != is_chosen(to),
        Shape::Mute(_) => is_chosen(from) && !is_chosen(to),
        Shape::Deafen(_) => !is_chosen(from) && is_chosen(to),
        Shape::Bridge(_) => !is_chosen(from) && !is_chosen(to) && is_left(from) != is_left(to),
    };
    let pairs = names.iter().flat_map(|from| names.iter().map(move |to| (from, to)));
    pairs.filter(|(from, to)| from != to && harms(from, to)).map(|(from, to)| (from.clone(), to.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Victims;

    fn harmed(shape: fn(Victims) -> Shape, chosen: &[&str]) -> String {
        let owned = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
        let links = links(&shape(Victims::Leader), &owned(chosen), &owned(&["a", "b", "c", "d", "e"]));
        links.iter().map(|(from, to)| format!("{from}{to}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_shape_harms_its_links_and_no_other() {
        assert_eq!(harmed(Shape::Mute, &["b"]), "ba bc bd be");
        assert_eq!(harmed(Shape::Deafen, &["b"]), "ab cb db eb");
        assert_eq!(harmed(Shape::Isolate, &["b"]), "ab ba bc bd be cb db eb");
        assert_eq!(harmed(Shape::Split, &["a", "b"]), "ac ad ae bc bd be ca cb da db ea eb");
        assert_eq!(harmed(Shape::Bridge, &["c"]), "ab ae ba bd db de ea ed");
    }
}
