//! `quorate maelstrom` as Maelstrom runs it: five processes, and a network that is this test.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

const NODES: [&str; 5] = ["n1", "n2", "n3", "n4", "n5"];
const PATIENCE: Duration = Duration::from_secs(30);

struct Processes {
    nodes: BTreeMap<String, (Child, Option<ChildStdin>)>,
    lines: Receiver<Value>,
    /// What the nodes said to clients, and nobody has looked at.
    answers: Vec<Value>,
    last_msg_id: u64,
}

impl Processes {
    fn start() -> Processes {
        let (sender, lines) = channel();
        let nodes = NODES.map(|name| (name.to_owned(), start_node(sender.clone())));
        let mut processes = Processes { nodes: nodes.into(), lines, answers: Vec::new(), last_msg_id: 0 };
        for name in NODES {
            let init = json!({ "type": "init", "node_id": name, "node_ids": NODES });
            assert_eq!(processes.ask(name, init)["type"], "init_ok");
        }
        processes
    }

    fn send(&mut self, envelope: &Value) {
        let dest = envelope["dest"].as_str().expect("a name");
        if let Some((_, Some(stdin))) = self.nodes.get_mut(dest) {
            writeln!(stdin, "{envelope}").expect("the node reads");
        }
    }

    /// Asks, and routes everybody's messages until the answer comes.
    fn ask(&mut self, node: &str, mut body: Value) -> Value {
        self.last_msg_id += 1;
        let msg_id = json!(self.last_msg_id);
        body["msg_id"] = msg_id.clone();
        self.send(&json!({ "src": "c1", "dest": node, "body": body }));
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.answers.iter().position(|answer| answer["body"]["in_reply_to"] == msg_id) {
                let answer = self.answers.swap_remove(at);
                assert_eq!((&answer["src"], &answer["dest"]), (&json!(node), &json!("c1")));
                return answer["body"].clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no answer to {body}"));
            match line["dest"].as_str().expect("a name").starts_with('n') {
                true => self.send(&line),
                false => self.answers.push(line),
            }
        }
    }

    /// Asks again for as long as the cluster says for certain that it cannot yet.
    fn ask_until_taken(&mut self, node: &str, body: &Value) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(node, body.clone());
            if answer["code"] != 11 || Instant::now() > until {
                return answer;
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (child, _) in self.nodes.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start_node(sender: Sender<Value>) -> (Child, Option<ChildStdin>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command.args(["maelstrom", "--protocol", "raft", "--election-timeout-ms", "500"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("it is piped"));
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let message = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    (child, stdin)
}

#[test]
fn five_processes_echo_and_agree_on_a_key() {
    let mut processes = Processes::start();
    for (_, stdin) in processes.nodes.values_mut() {
        stdin.as_mut().unwrap().write_all(b"\xff\n\n{\n[1]\n").unwrap();
    }
    for node in NODES {
        let echo = json!({ "please": ["say", node, "again", 1.5] });
        let answer = processes.ask(node, json!({ "type": "echo", "echo": echo }));
        assert_eq!((&answer["type"], &answer["echo"]), (&json!("echo_ok"), &echo));
    }
    let missing = processes.ask_until_taken("n1", &json!({ "type": "cas", "key": 0, "from": 0, "to": 1 }));
    assert_eq!(missing["code"], 20, "{missing}");
    let written = processes.ask_until_taken("n2", &json!({ "type": "write", "key": 0, "value": 0 }));
    assert_eq!(written["type"], "write_ok", "{written}");
    for (value, node) in (0..).zip(NODES) {
        let read = processes.ask_until_taken(node, &json!({ "type": "read", "key": 0 }));
        assert_eq!(read["value"], value, "{node} says {read}");
        let wrong = processes.ask(node, json!({ "type": "cas", "key": 0, "from": value + 7, "to": 0 }));
        assert_eq!(wrong["code"], 22, "{wrong}");
        let right = processes.ask(node, json!({ "type": "cas", "key": 0, "from": value, "to": value + 1 }));
        assert_eq!(right["type"], "cas_ok", "{right}");
    }
}

#[test]
fn a_minority_of_processes_may_die_and_a_node_ends_with_its_input() {
    let mut processes = Processes::start();
    let write = |value: u64| json!({ "type": "write", "key": "k", "value": value });
    assert_eq!(processes.ask_until_taken("n1", &write(1))["type"], "write_ok");
    for name in ["n4", "n5"] {
        let (mut child, stdin) = processes.nodes.remove(name).unwrap();
        drop(stdin);
        assert!(child.wait().unwrap().success(), "{name} ends well when its input does");
    }
    assert_eq!(processes.ask_until_taken("n2", &write(2))["type"], "write_ok");
    let read = processes.ask_until_taken("n3", &json!({ "type": "read", "key": "k" }));
    assert_eq!(read["value"], 2, "{read}");
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    for arguments in [["--protocol", "paxos"], ["--election-timeout-ms", "5"]] {
        let run = Command::new(env!("CARGO_BIN_EXE_quorate")).arg("maelstrom").args(arguments).output().unwrap();
        assert!(!run.status.success() && run.stdout.is_empty(), "{arguments:?}");
    }
}
