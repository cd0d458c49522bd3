package dir

import (
	"encoding/json"
	"slices"

	"groupsync/internal/simulate/chaos"
	"groupsync/internal/simulate/history"
)

// The roles of users in this model. groupsync writes only the roles admin and user, so only people
// give somebody the role Superuser.
const (
	roleAdmin = "admin"
	roleUser  = "user"
	Superuser = "superuser"
)

// setRole sets the role of a user. It returns false if the user already had the role.
func (d *Directory) setRole(u *user, role, by string, write int) bool {
	if u.role == role {
		return false
	}
	was := u.role == roleAdmin
	u.role, u.bossByLogin = role, false
	d.tellUser(u)
	if is := role == roleAdmin; is != was {
		d.log.Add(history.Member{Group: history.AdminRole, User: u.id, In: is, By: by, Write: write})
	}
	return true
}

// EditRole sets the role of a user, as an administrator does. role is an index: it chooses among
// admin, superuser and user.
func (d *Directory) EditRole(userID string, role int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u := d.users[userID]; u != nil && userID != Self {
		d.setRole(u, []string{roleAdmin, Superuser, roleUser}[role%3], "person", 0)
	}
}

type roleBody struct{ User, Role string }

// updateRole carries out a write of a role.
func (d *Directory) updateRole(q chaos.Request) chaos.Answer {
	var b roleBody
	u := (*user)(nil)
	if json.Unmarshal(q.Body, &b) == nil {
		u = d.users[b.User]
	}
	if u == nil || b.User == Self || !slices.Contains([]string{roleAdmin, roleUser, "consumer"}, b.Role) {
		return envelope(400, 12, "no such user, or no such role", d.made, map[string]any{})
	}
	d.log.Add(history.Carried{Number: q.Number})
	updated := 0
	if d.setRole(u, b.Role, history.Writer, q.Number) {
		updated = 1
	}
	return envelope(200, 0, "OK", d.made, map[string]any{"updated": updated})
}
