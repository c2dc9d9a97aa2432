//! Who may do what in a room: one table from action to the least role, and the rules between two members.

use hark_protocol::RoomRole;

/// Something that a member may or may not do to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Add a message or an application's event.
    Publish,
    /// Stop being a member.
    Leave,
    /// Let an account join.
    Invite,
    /// Remove a member or an invitation.
    Kick,
    /// Change the topic.
    SetTopic,
    /// Change a member's role.
    SetRole,
    /// Change how much of its log the room keeps.
    SetRetention,
}

impl Action {
    /// Every action, for tests over the whole table.
    pub const ALL: [Action; 7] = [
        Action::Publish,
        Action::Leave,
        Action::Invite,
        Action::Kick,
        Action::SetTopic,
        Action::SetRole,
        Action::SetRetention,
    ];

    /// The least role that may do it in a public or private room.
    fn least_role(self) -> RoomRole {
        match self {
            Action::Publish | Action::Leave => RoomRole::MEMBER,
            Action::Invite | Action::Kick | Action::SetTopic => RoomRole::MODERATOR,
            Action::SetRole | Action::SetRetention => RoomRole::OWNER,
        }
    }
}

/// Whether a member with `role` may do it. In a direct room there is nothing to do but publish.
pub fn may(action: Action, role: RoomRole, is_direct: bool) -> bool {
    if is_direct {
        return action == Action::Publish && role >= RoomRole::MEMBER;
    }
    role >= action.least_role()
}

/// Whether a member with `role` may remove one with `other`: only those below oneself.
pub fn may_kick(role: RoomRole, other: RoomRole) -> bool {
    may(Action::Kick, role, false) && role > other
}

/// Whether a role can be given to a member.
pub fn is_assignable(role: RoomRole) -> bool {
    matches!(role, RoomRole::MEMBER | RoomRole::MODERATOR | RoomRole::OWNER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: [RoomRole; 4] = [RoomRole::NONE, RoomRole::MEMBER, RoomRole::MODERATOR, RoomRole::OWNER];

    #[test]
    fn the_whole_table_is_as_written() {
        // Rows: actions in the order of ALL. Columns: none, member, moderator, owner.
        let golden = ["-mMO", "-mMO", "--MO", "--MO", "--MO", "---O", "---O"];
        for (action, row) in Action::ALL.into_iter().zip(golden) {
            for (role, cell) in ROLES.into_iter().zip(row.chars()) {
                assert_eq!(may(action, role, false), cell != '-', "{action:?} as {role}");
                let in_direct = action == Action::Publish && role != RoomRole::NONE;
                assert_eq!(may(action, role, true), in_direct, "{action:?} as {role} in a direct room");
            }
        }
    }

    #[test]
    fn one_kicks_only_those_below() {
        let allowed: Vec<_> = ROLES
            .into_iter()
            .flat_map(|role| ROLES.map(|other| (role, other)))
            .filter(|(role, other)| may_kick(*role, *other))
            .collect();
        let (none, member, moderator, owner) = (ROLES[0], ROLES[1], ROLES[2], ROLES[3]);
        let expected =
            [(moderator, none), (moderator, member), (owner, none), (owner, member), (owner, moderator)];
        assert_eq!(allowed, expected);
    }
}
