//! Round trips between sites: tables that come with the crate, and tables of one's own.
//!
//! A table is text. Lines that begin with `#` are remarks; two of them are demanded, `# source: ...` and `# date: ...`, for a
//! figure nobody can trace is worth nothing. Then comes the line `from,to,round_trip_ms`, then one line for each pair of
//! sites, both directions being equal:
//!
//! ```text
//! # source: ping means of a public cloud
//! # date: 2020-06-05
//! from,to,round_trip_ms
//! CA,VA,59.9
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

/// The tables that come with the crate, by name.
const SHIPPED: [(&str, &str); 2] = [
    ("public-cloud-2020", include_str!("../data/public-cloud-2020.csv")),
    ("local-cluster", include_str!("../data/local-cluster.csv")),
];

const HEADING: &str = "from,to,round_trip_ms";
/// As many as anybody draws, and more than any quorum needs.
const SITES_MAX: usize = 9;
const NAME_CHARACTERS_MAX: usize = 16;
const ROUND_TRIP_MS_MAX: u64 = 60_000;

/// Why a table of round trips cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatrixError {
    /// A line is not what the format demands.
    #[error("line {line}: {why}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A remark that is demanded is not there.
    #[error("a line `# {0}: ...` must say where the figures come from")]
    NoRemark(&'static str),
    /// There is nothing between these.
    #[error("there is no round trip between {0} and {1}: every pair of sites needs a line")]
    NoPair(String, String),
    /// Too few, or too many.
    #[error("{0} sites; from 1 to {SITES_MAX} can be compared")]
    SiteCount(usize),
    /// A table has no such site.
    #[error("there is no site {wanted}; there are {}", known.join(", "))]
    NoSite {
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A site was named twice.
    #[error("site {0} is named twice")]
    Twice(String),
}

/// A place in a [`Matrix`], counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site(pub usize);

/// Sites, and the round trip between any two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    source: String,
    date: String,
    sites: Vec<String>,
    /// By the lesser site and the greater.
    round_trips: BTreeMap<(Site, Site), Duration>,
}

impl Matrix {
    /// The names of the tables that come with the crate.
    pub fn shipped_names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// A table that comes with the crate; `None` if there is none of this name.
    #[must_use]
    pub fn shipped(name: &str) -> Option<Matrix> {
        let (_, text) = SHIPPED.iter().find(|(known, _)| *known == name)?;
        Some(Matrix::parse(text).expect("a test reads every table that is shipped"))
    }

    /// Reads a table. Sites are in the order in which they are first named.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Matrix, MatrixError> {
        let mut remarks: BTreeMap<&str, String> = BTreeMap::new();
        let mut has_heading = false;
        let mut sites: Vec<String> = Vec::new();
        let mut round_trips = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let line_error = |why: String| MatrixError::Line { line: at + 1, why };
            let line = line.trim();
            if let Some(remark) = line.strip_prefix('#') {
                for name in ["source", "date"] {
                    if let Some(words) = remark.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix(':')) {
                        remarks.insert(name, words.trim().to_owned());
                    }
                }
            } else if !has_heading && !line.is_empty() {
                has_heading = line == HEADING;
                if !has_heading {
                    return Err(line_error(format!("`{HEADING}` must come before the figures, not `{line}`")));
                }
            } else if !line.is_empty() {
                let (from, to, round_trip) = pair_of(line).map_err(line_error)?;
                let (from, to) = (place(&mut sites, from), place(&mut sites, to));
                if round_trips.insert((from.min(to), from.max(to)), round_trip).is_some() {
                    return Err(line_error("this pair has a line already".to_owned()));
                }
            }
        }
        let mut remark =
            |name| remarks.remove(name).filter(|words| !words.is_empty()).ok_or(MatrixError::NoRemark(name));
        let matrix = Matrix { source: remark("source")?, date: remark("date")?, sites, round_trips };
        matrix.check()?;
        Ok(matrix)
    }

    fn check(&self) -> Result<(), MatrixError> {
        if !(1..=SITES_MAX).contains(&self.sites.len()) {
            return Err(MatrixError::SiteCount(self.sites.len()));
        }
        let pairs = self.sites().flat_map(|from| self.sites().map(move |to| (from, to)));
        let missing = pairs.into_iter().find(|(from, to)| from < to && !self.round_trips.contains_key(&(*from, *to)));
        match missing {
            Some((from, to)) => Err(MatrixError::NoPair(self.name(from).to_owned(), self.name(to).to_owned())),
            None => Ok(()),
        }
    }

    /// The same table with these sites only, in this order.
    ///
    /// # Errors
    /// A site that is not there, or is named twice.
    pub fn only(&self, names: &[&str]) -> Result<Matrix, MatrixError> {
        let picked: Vec<Site> = names.iter().map(|name| self.site(name)).collect::<Result<_, _>>()?;
        if !(1..=SITES_MAX).contains(&picked.len()) {
            return Err(MatrixError::SiteCount(picked.len()));
        }
        let mut round_trips = BTreeMap::new();
        for (at, from) in picked.iter().enumerate() {
            for (beyond, to) in picked.iter().enumerate().skip(at + 1) {
                if from == to {
                    return Err(MatrixError::Twice(self.name(*from).to_owned()));
                }
                round_trips.insert((Site(at), Site(beyond)), self.round_trip(*from, *to));
            }
        }
        let sites = picked.iter().map(|site| self.name(*site).to_owned()).collect();
        Ok(Matrix { source: self.source.clone(), date: self.date.clone(), sites, round_trips })
    }

    /// All sites, in order.
    pub fn sites(&self) -> impl Iterator<Item = Site> + use<> {
        (0..self.sites.len()).map(Site)
    }

    /// How many sites there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sites.len()
    }

    /// What a site is called; nothing for one that is not there.
    #[must_use]
    pub fn name(&self, site: Site) -> &str {
        self.sites.get(site.0).map_or("", String::as_str)
    }

    /// The site of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn site(&self, name: &str) -> Result<Site, MatrixError> {
        let at = self.sites.iter().position(|known| known == name);
        at.map(Site).ok_or_else(|| MatrixError::NoSite { wanted: name.to_owned(), known: self.sites.clone() })
    }

    /// The round trip between two sites: nothing inside one. An even number of nanoseconds, so that a half is exact.
    #[must_use]
    pub fn round_trip(&self, one: Site, other: Site) -> Duration {
        self.round_trips.get(&(one.min(other), one.max(other))).copied().unwrap_or_default()
    }

    /// The longest round trip there is.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.round_trips.values().copied().max().unwrap_or_default()
    }

    /// Every other site, nearest first; of those equally near, in order.
    #[must_use]
    pub fn by_distance(&self, from: Site) -> Vec<Site> {
        let mut others: Vec<Site> = self.sites().filter(|site| *site != from).collect();
        others.sort_by_key(|site| (self.round_trip(from, *site), *site));
        others
    }

    /// Where the figures come from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Of when they are.
    #[must_use]
    pub fn date(&self) -> &str {
        &self.date
    }
}

fn place(sites: &mut Vec<String>, name: &str) -> Site {
    let at = sites.iter().position(|known| known == name).unwrap_or_else(|| {
        sites.push(name.to_owned());
        sites.len() - 1
    });
    Site(at)
}

fn pair_of(line: &str) -> Result<(&str, &str, Duration), String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [from, to, round_trip] = fields.as_slice() else {
        return Err(format!("two sites and a round trip are wanted, such as CA,VA,59.9, not `{line}`"));
    };
    for name in [from, to] {
        let fits = name.chars().all(|letter| letter.is_alphanumeric() || letter == '-' || letter == '_');
        if name.is_empty() || !fits || name.chars().count() > NAME_CHARACTERS_MAX {
            return Err(format!(
                "`{name}` is no name of a site: up to {NAME_CHARACTERS_MAX} letters, digits, - and _ are"
            ));
        }
    }
    if from == to {
        return Err(format!("{from} has no round trip to itself: it counts as nothing"));
    }
    Ok((from, to, round_trip_of(round_trip)?))
}

/// Milliseconds in decimal, exactly.
fn round_trip_of(text: &str) -> Result<Duration, String> {
    let complaint = || format!("`{text}` is no number of milliseconds, such as 59.9");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return Err(complaint());
    }
    if fraction.len() > 6 {
        return Err(format!("`{text}` has more than six decimals: a nanosecond is the least there is"));
    }
    let millis: u64 = whole.parse().map_err(|_| complaint())?;
    if millis > ROUND_TRIP_MS_MAX {
        return Err(format!("{text} ms is longer than {ROUND_TRIP_MS_MAX} ms"));
    }
    let nanos: u64 = format!("{fraction:0<6}").parse().map_err(|_| complaint())?;
    let nanos = millis * 1_000_000 + nanos;
    if nanos == 0 || nanos % 2 == 1 {
        return Err(format!("{text} ms is not an even number of nanoseconds above 0, so half of it is not exact"));
    }
    Ok(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "# source: nobody\n# date: 2020-01-01\nfrom,to,round_trip_ms\n";

    fn parsed(lines: &str) -> Result<Matrix, MatrixError> {
        Matrix::parse(&format!("{HEAD}{lines}"))
    }

    #[test]
    fn every_shipped_table_is_whole_and_says_where_it_comes_from() {
        for name in Matrix::shipped_names() {
            let matrix = Matrix::shipped(name).unwrap();
            assert_eq!(matrix.count(), 5, "{name}");
            assert!(!matrix.source().is_empty() && !matrix.date().is_empty());
        }
        assert_eq!(Matrix::shipped("elsewhere"), None);
    }

    #[test]
    fn a_round_trip_is_the_same_both_ways_and_nothing_inside_a_site() {
        let matrix = parsed("A,B,0.4\nC,A,10\nB,C,7.25").unwrap();
        let [a, b, c] = ["A", "B", "C"].map(|name| matrix.site(name).unwrap());
        assert_eq!(matrix.round_trip(b, a), Duration::from_micros(400));
        assert_eq!(matrix.round_trip(b, c), Duration::from_micros(7_250));
        assert_eq!(matrix.round_trip(c, c), Duration::ZERO);
        assert_eq!(matrix.by_distance(c), [b, a]);
        assert_eq!(matrix.longest(), Duration::from_millis(10));
    }

    #[test]
    fn some_sites_of_a_table_are_a_table() {
        let cloud = Matrix::shipped("public-cloud-2020").unwrap();
        let two = cloud.only(&["JP", "CA"]).unwrap();
        assert_eq!(two.round_trip(Site(0), Site(1)), Duration::from_micros(111_700));
        assert_eq!(two.name(Site(0)), "JP");
        assert!(matches!(cloud.only(&["JP", "XX"]), Err(MatrixError::NoSite { .. })));
        assert_eq!(cloud.only(&["JP", "JP"]), Err(MatrixError::Twice("JP".to_owned())));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_named_with_its_line() {
        for (lines, complaint) in [
            ("A,B", "line 4: two sites"),
            ("A,B,1\nB,A,1", "line 5: this pair has a line already"),
            ("A,A,1", "line 4: A has no round trip to itself"),
            ("A,B,fast", "`fast` is no number"),
            ("A,B,-1", "`-1` is no number"),
            ("A,B,0", "even number"),
            ("A,B,0.000001", "even number"),
            ("A,B,0.0000001", "six decimals"),
            ("A,B,1000000", "longer than"),
            ("A,,1", "no name"),
            ("A,B,1\nA,C,1", "between B and C"),
            ("", "0 sites"),
        ] {
            let error = parsed(lines).unwrap_err().to_string();
            assert!(error.contains(complaint), "{lines:?}: {error}");
        }
        let headless = Matrix::parse("# source: a\n# date: b\nA,B,1").unwrap_err().to_string();
        assert!(headless.contains("line 3: `from,to,round_trip_ms` must come"), "{headless}");
        assert_eq!(Matrix::parse("from,to,round_trip_ms\nA,B,1"), Err(MatrixError::NoRemark("source")));
    }
}
