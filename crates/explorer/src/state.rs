//! A state in few bytes: the numbers of its parts.

/// A state. Its parts are numbers that a catalogue gave them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// By which link it was first reached.
    pub(crate) link: u32,
    /// By place.
    pub(crate) nodes: Vec<u32>,
    /// What was decided anywhere, ever.
    pub(crate) decided: u32,
    pub(crate) spent: u32,
    /// Ascending; a message that is in flight several times is there several times.
    pub(crate) flights: Vec<u32>,
}

impl State {
    /// Becomes a copy, without giving memory back.
    pub(crate) fn copy_from(&mut self, other: &State) {
        (self.link, self.decided, self.spent) = (other.link, other.decided, other.spent);
        self.nodes.clone_from(&other.nodes);
        self.flights.clone_from(&other.flights);
    }

    /// Adds a message in flight.
    pub(crate) fn launch(&mut self, flight: u32) {
        let at = self.flights.partition_point(|other| *other <= flight);
        self.flights.insert(at, flight);
    }

    /// Takes a message out of flight.
    pub(crate) fn land(&mut self, flight: u32) {
        if let Ok(at) = self.flights.binary_search(&flight) {
            self.flights.remove(at);
        }
    }

    /// Appends it to a row of states.
    pub(crate) fn write(&self, row: &mut Vec<u8>) {
        write_number(row, self.link);
        for node in &self.nodes {
            write_number(row, *node);
        }
        write_number(row, self.decided);
        write_number(row, self.spent);
        write_number(row, self.flights.len() as u32);
        let mut last = 0;
        for flight in &self.flights {
            write_number(row, flight - last);
            last = *flight;
        }
    }

    /// Becomes the state that was written at `at`; it has as many nodes as this one. Returns where the next begins.
    pub(crate) fn read(&mut self, row: &[u8], at: usize) -> usize {
        let mut row = Row { row, at };
        self.link = row.number();
        for node in &mut self.nodes {
            *node = row.number();
        }
        self.decided = row.number();
        self.spent = row.number();
        let count = row.number();
        self.flights.clear();
        let mut last = 0;
        for _ in 0..count {
            last += row.number();
            self.flights.push(last);
        }
        row.at
    }
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn write_number(row: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        row.push(number as u8 | 0x80);
        number >>= 7;
    }
    row.push(number as u8);
}

struct Row<'a> {
    row: &'a [u8],
    at: usize,
}

impl Row<'_> {
    fn number(&mut self) -> u32 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = self.row[self.at];
            self.at += 1;
            number |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return number;
            }
            shift += 7;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let mut first = State { link: u32::MAX, nodes: vec![0, 300, 70_000], decided: 1, spent: 128, flights: vec![] };
        for flight in [9, 5, 200, 5, 1 << 30] {
            first.launch(flight);
        }
        assert_eq!(first.flights, [5, 5, 9, 200, 1 << 30]);
        let mut second = first.clone();
        second.land(5);
        let mut row = Vec::new();
        first.write(&mut row);
        second.write(&mut row);
        let mut read = State { nodes: vec![0; 3], ..State::default() };
        let at = read.read(&row, 0);
        assert_eq!(read, first);
        assert_eq!(read.read(&row, at), row.len());
        assert_eq!(read, second);
    }
}
