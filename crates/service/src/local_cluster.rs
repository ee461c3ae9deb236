//! Several members in this process, on free ports of this machine.

use crate::identity::{Founder, cluster_id, founding_membership, node_id};
use crate::member::{Member, MemberError};
use crate::plan::{Entry, Plan};
use quorate_runtime::StopCause;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

const TOKEN: &str = "local-cluster";

/// A cluster inside this process: each member on a thread of its own, talking over loopback sockets, with its data in a
/// directory of its own. For tests, and for programs that bring their store with them.
#[derive(Debug)]
pub struct LocalCluster {
    directory: PathBuf,
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    founder: Founder,
    id: u64,
    plan: Plan,
    client_address: SocketAddr,
    peer_address: SocketAddr,
    member: Option<Member>,
}

impl LocalCluster {
    /// Starts so many members with their data under `directory`, with the defaults for everything else. Returns when clients may
    /// connect; nobody leads yet.
    ///
    /// # Errors
    /// As [`Member::start`]; members already started are stopped.
    pub fn start(directory: &Path, members: usize) -> Result<LocalCluster, MemberError> {
        LocalCluster::start_with(directory, members, |_| {})
    }

    /// The same, with a say in every member's plan.
    ///
    /// # Errors
    /// As [`LocalCluster::start`].
    pub fn start_with(
        directory: &Path,
        members: usize,
        adjust: impl Fn(&mut Plan),
    ) -> Result<LocalCluster, MemberError> {
        let sockets: Result<Vec<Sockets>, MemberError> = (0..members).map(|_| Sockets::bind()).collect();
        let sockets = sockets?;
        let founders: Vec<Founder> = sockets
            .iter()
            .enumerate()
            .map(|(index, sockets)| Founder { name: name_of(index), peer_urls: vec![url(sockets.peer_address)] })
            .collect();
        let membership = founding_membership(&founders, TOKEN);
        let cluster = cluster_id(&founders, TOKEN);
        let mut places = Vec::new();
        for (founder, sockets) in founders.iter().zip(sockets) {
            let me = node_id(&founder.peer_urls, TOKEN);
            let entry = Entry::Found { cluster, me, members: membership.clone() };
            places.push(Place::start(directory, founder.clone(), entry, sockets, &adjust)?);
        }
        Ok(LocalCluster { directory: directory.to_owned(), places })
    }

    /// Free addresses for one more member, which is to be added to the cluster before it joins.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn reserve(&self) -> Result<Reservation, MemberError> {
        Ok(Reservation { founder_name: name_of(self.places.len()), sockets: Sockets::bind()? })
    }

    /// Starts a member that was added to the cluster, beside those that were started here and not taken out.
    ///
    /// # Errors
    /// As [`Member::start`], among others when the cluster does not list it.
    pub fn join(
        &mut self,
        reservation: Reservation,
        patience: Duration,
        adjust: impl Fn(&mut Plan),
    ) -> Result<(), MemberError> {
        let Reservation { founder_name, sockets } = reservation;
        let founder = Founder { name: founder_name, peer_urls: vec![url(sockets.peer_address)] };
        let mut members: Vec<Founder> = self.places.iter().map(|place| place.founder.clone()).collect();
        members.push(founder.clone());
        let entry = Entry::Join { members, patience };
        self.places.push(Place::start(&self.directory, founder, entry, sockets, &adjust)?);
        Ok(())
    }

    /// Forgets a member that was removed from the cluster, after stopping it.
    pub async fn take_out(&mut self, index: usize) {
        self.stop(index).await;
        self.places.remove(index);
    }

    /// Waits for a member to end by itself; answers in which words, or nothing if it does not run.
    ///
    /// # Errors
    /// As [`Member::ended`].
    pub async fn ended(&mut self, index: usize) -> Result<Option<StopCause>, MemberError> {
        match self.places[index].member.take() {
            Some(mut member) => member.ended().await.map(Some),
            None => Ok(None),
        }
    }

    /// How many members there are, running or not.
    #[must_use]
    pub fn members(&self) -> usize {
        self.places.len()
    }

    /// `http://host:port` of every member, running or not, in order.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.places.iter().map(|place| url(place.client_address)).collect()
    }

    /// A member's id.
    #[must_use]
    pub fn member_id(&self, index: usize) -> u64 {
        self.places[index].id
    }

    /// Where a member keeps its data.
    #[must_use]
    pub fn data_directory(&self, index: usize) -> &PathBuf {
        &self.places[index].plan.data_directory
    }

    /// Stops a member and waits until its directory is free. Nothing happens if it does not run.
    pub async fn stop(&mut self, index: usize) {
        if let Some(mut member) = self.places[index].member.take() {
            member.stop();
            if let Err(error) = member.ended().await {
                tracing::warn!(%error, member = member.name(), "ended badly");
            }
        }
    }

    /// Starts a member again that was stopped, on its old ports and data.
    ///
    /// # Errors
    /// As [`Member::start`], or when a port was taken meanwhile.
    pub fn restart(&mut self, index: usize) -> Result<(), MemberError> {
        let place = &mut self.places[index];
        let member =
            Member::start(place.plan.clone(), vec![bind(place.client_address)?], vec![bind(place.peer_address)?])?;
        place.member = Some(member);
        Ok(())
    }

    /// Stops all members and waits for their end.
    pub async fn shut_down(mut self) {
        for place in &self.places {
            if let Some(member) = &place.member {
                member.stop();
            }
        }
        for index in 0..self.places.len() {
            self.stop(index).await;
        }
    }
}

/// Ports of a member to be.
#[derive(Debug)]
pub struct Reservation {
    founder_name: String,
    sockets: Sockets,
}

impl Reservation {
    /// Where the other members will reach it.
    #[must_use]
    pub fn peer_url(&self) -> String {
        url(self.sockets.peer_address)
    }
}

impl Place {
    fn start(
        directory: &Path,
        founder: Founder,
        entry: Entry,
        sockets: Sockets,
        adjust: &impl Fn(&mut Plan),
    ) -> Result<Place, MemberError> {
        let Sockets { client, client_address, peer, peer_address } = sockets;
        let mut plan = Plan::new(&founder.name, directory.join(&founder.name), entry);
        plan.client_urls = vec![url(client_address)];
        plan.peer_urls = vec![url(peer_address)];
        adjust(&mut plan);
        let member = Member::start(plan.clone(), vec![client], vec![peer])?;
        let id = member.id().0;
        Ok(Place { founder, id, plan, client_address, peer_address, member: Some(member) })
    }
}

#[derive(Debug)]
struct Sockets {
    client: TcpListener,
    client_address: SocketAddr,
    peer: TcpListener,
    peer_address: SocketAddr,
}

impl Sockets {
    fn bind() -> Result<Sockets, MemberError> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (client, peer) = (bind(any)?, bind(any)?);
        let address = |socket: &TcpListener| {
            socket.local_addr().map_err(|source| MemberError::System { what: "a socket has no address", source })
        };
        Ok(Sockets { client_address: address(&client)?, peer_address: address(&peer)?, client, peer })
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, MemberError> {
    TcpListener::bind(address).map_err(|source| MemberError::System { what: "cannot listen on a local port", source })
}

fn name_of(index: usize) -> String {
    format!("member{}", index + 1)
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}
