package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Accounts are those of the chat app: *accounts.Room.
type Accounts interface {
	Verify(ctx context.Context, token string) (accounts.Holder, error)
	App() string
	UserOf(number int64) wire.UserID

	SignUp(ctx context.Context, address, username, password string) (accounts.Profile, error)
	MakeAccount(ctx context.Context, username, password string) (accounts.Profile, error)
	SignIn(ctx context.Context, address, username, password string) (accounts.Tokens, error)
	Refresh(ctx context.Context, token string) (accounts.Tokens, error)
	SignOut(ctx context.Context, h accounts.Holder, all bool) error
	EndSession(ctx context.Context, h accounts.Holder, id wire.ID) error
	Sessions(ctx context.Context, h accounts.Holder) ([]accounts.Session, error)

	Profile(ctx context.Context, user wire.UserID) (accounts.Profile, error)
	ProfileOf(ctx context.Context, username string) (accounts.Profile, error)
	Profiles(ctx context.Context, users []wire.UserID) (map[wire.UserID]accounts.Profile, error)
	SetProfile(ctx context.Context, h accounts.Holder, c accounts.Change) (accounts.Profile, error)
	SetPassword(ctx context.Context, address string, h accounts.Holder, old, password string) error
	Delete(ctx context.Context, address string, h accounts.Holder, password string) error
	DeleteAccount(ctx context.Context, user wire.UserID) error
	Export(ctx context.Context, h accounts.Holder) (accounts.Export, error)

	MakeReset(ctx context.Context, user wire.UserID) (accounts.Reset, error)
	AskReset(address, username string) error
	UseReset(ctx context.Context, token, password string) (wire.UserID, error)

	Block(ctx context.Context, h accounts.Holder, other wire.UserID) error
	Unblock(ctx context.Context, h accounts.Holder, other wire.UserID) error
	Blocks(ctx context.Context, h accounts.Holder, after int64, limit int) ([]accounts.Block, error)
}

func (r Rooms) accountCalls() []Call {
	return []Call{
		{Method: "POST", Path: "/v1/accounts", Auth: ByNobody, Also: keys.AccountsManage, Status: http.StatusCreated, Handler: Handle(r.signUp)},
		{Method: "GET", Path: "/v1/accounts", Auth: ByAccount, Also: keys.AccountsManage, Handler: Handle(r.findAccount)},
		{Method: "GET", Path: "/v1/profiles", Auth: ByAccount, Handler: Handle(r.listProfiles)},
		{Method: "DELETE", Path: "/v1/accounts/{userId}", Scope: keys.AccountsManage, Once: true, Handler: Handle(r.endAccount)},
		{Method: "GET", Path: "/v1/accounts/{userId}", Auth: ByAccount, Also: keys.AccountsManage, Handler: Handle(r.getAccount)},
		{Method: "GET", Path: "/v1/accounts/me", Auth: ByAccount, Handler: Handle(r.myAccount)},
		{Method: "PATCH", Path: "/v1/accounts/me", Auth: ByAccount, Handler: Handle(r.changeAccount)},
		{Method: "DELETE", Path: "/v1/accounts/me", Auth: ByAccount, Status: http.StatusNoContent, Handler: Serve(r.deleteAccount)},
		{Method: "POST", Path: "/v1/accounts/me/password", Auth: ByAccount, Status: http.StatusNoContent, Handler: Serve(r.changePassword)},
		{Method: "GET", Path: "/v1/accounts/me/export", Auth: ByAccount, Handler: Serve(r.exportAccount)},
		{Method: "GET", Path: "/v1/accounts/me/sessions", Auth: ByAccount, Handler: Handle(r.mySessions)},
		{Method: "DELETE", Path: "/v1/accounts/me/sessions/{id}", Auth: ByAccount, Status: http.StatusNoContent, Handler: Serve(r.endSession)},
		{Method: "GET", Path: "/v1/accounts/me/blocks", Auth: ByAccount, Handler: Handle(r.myBlocks)},
		{Method: "PUT", Path: "/v1/accounts/me/blocks/{userId}", Auth: ByAccount, Status: http.StatusNoContent, Handler: Serve(r.block)},
		{Method: "DELETE", Path: "/v1/accounts/me/blocks/{userId}", Auth: ByAccount, Status: http.StatusNoContent, Handler: Serve(r.unblock)},
		{Method: "POST", Path: "/v1/accounts/{userId}/resets", Scope: keys.AccountsManage, Once: true, Secret: true, Status: http.StatusCreated, Handler: Handle(r.makeReset)},
		{Method: "POST", Path: "/v1/sessions", Auth: ByNobody, Status: http.StatusCreated, Handler: Handle(r.signIn)},
		{Method: "DELETE", Path: "/v1/sessions", Auth: ByAccount, Status: http.StatusNoContent, Handler: Serve(r.signOut)},
		{Method: "POST", Path: "/v1/sessions/refresh", Auth: ByNobody, Handler: Handle(r.refreshSession)},
		{Method: "POST", Path: "/v1/resets", Auth: ByNobody, Status: http.StatusAccepted, Handler: Serve(r.askReset)},
		{Method: "POST", Path: "/v1/passwords", Auth: ByNobody, Status: http.StatusNoContent, Handler: Serve(r.useReset)},
	}
}

// chat fails with CHAT_OFF where there are no accounts and rooms.
func (r Rooms) chat() *Refusal {
	if r.Accounts != nil {
		return nil
	}
	why := r.ChatOff
	if why == "" {
		why = "there are no accounts and rooms on this server: the setting chat.enabled turns them on"
	}
	return Refuse(http.StatusNotFound, CodeChatOff, "%s", why)
}

// done answers with no content.
func done(w http.ResponseWriter, status int, err error) error {
	if err == nil {
		w.WriteHeader(status)
	}
	return err
}

// account is a profile as the interface shows it.
type account struct {
	UserID      wire.UserID `json:"userId"`
	Username    string      `json:"username"`
	DisplayName string      `json:"displayName,omitzero"`
	Bio         string      `json:"bio,omitzero"`
	AvatarURL   string      `json:"avatarUrl,omitzero"`
	CreatedAt   Time        `json:"createdAt"`
}

func (r Rooms) showAccount(p accounts.Profile) account {
	return account{
		UserID: r.Accounts.UserOf(p.Number), Username: p.Username, DisplayName: p.DisplayName, Bio: p.Bio, AvatarURL: p.AvatarURL, CreatedAt: Time(p.Created),
	}
}

type credentials struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

type credentialsRequest struct {
	Body credentials `body:"json"`
}

func (r Rooms) signUp(ctx context.Context, who Identity, q credentialsRequest) (account, error) {
	p, err := r.makeAccount(ctx, who, q.Body)
	if err != nil {
		return account{}, err
	}
	r.note(who, "accountMade", r.Accounts.App(), fmt.Sprintf("%s-%d", r.Accounts.App(), p.Number), "")
	return r.showAccount(p), nil
}

// makeAccount makes an account for whoever comes, or for who manages them.
func (r Rooms) makeAccount(ctx context.Context, who Identity, c credentials) (accounts.Profile, error) {
	if who.May(keys.AccountsManage) {
		return r.Accounts.MakeAccount(ctx, c.Username, c.Password)
	}
	return r.Accounts.SignUp(ctx, who.address, c.Username, c.Password)
}

type deletedAnswer struct {
	Deleted wire.UserID `json:"deleted"`
}

func (r Rooms) endAccount(ctx context.Context, who Identity, q accountRequest) (deletedAnswer, error) {
	if refused := r.chat(); refused != nil {
		return deletedAnswer{}, refused
	}
	err := r.Accounts.DeleteAccount(ctx, q.User)
	r.noteDone(err, who, "accountDeleted", q.User.App(), string(q.User), "")
	return deletedAnswer{q.User}, err
}

// tokensAnswer is the one place where tokens leave.
type tokensAnswer struct {
	UserID         wire.UserID `json:"userId"`
	AccessToken    string      `json:"accessToken"`
	ExpiresAt      Time        `json:"expiresAt"`
	RefreshToken   string      `json:"refreshToken"`
	RefreshExpires Time        `json:"refreshExpiresAt"`
	Session        wire.ID     `json:"session"`
}

func showTokens(t accounts.Tokens, err error) (tokensAnswer, error) {
	return tokensAnswer{
		UserID: t.User, AccessToken: t.Access, ExpiresAt: Time(t.AccessExpires),
		RefreshToken: t.Refresh, RefreshExpires: Time(t.RefreshExpires), Session: t.Session,
	}, err
}

func (r Rooms) signIn(ctx context.Context, who Identity, q credentialsRequest) (tokensAnswer, error) {
	t, err := r.Accounts.SignIn(ctx, who.address, q.Body.Username, q.Body.Password)
	return showTokens(r.noteSignIn(who, t, err))
}

type refreshRequest struct {
	Body refreshBody `body:"json"`
}

type refreshBody struct {
	RefreshToken string `json:"refreshToken"`
}

func (r Rooms) refreshSession(ctx context.Context, _ Identity, q refreshRequest) (tokensAnswer, error) {
	return showTokens(r.Accounts.Refresh(ctx, q.Body.RefreshToken))
}

type signOutAllRequest struct {
	All bool `query:"all"`
}

func (r Rooms) signOut(w http.ResponseWriter, q *http.Request, who Identity, s signOutAllRequest) error {
	err := r.Accounts.SignOut(q.Context(), who.Account, s.All)
	what := ""
	if s.All {
		what = "all"
	}
	r.noteDone(err, who, "accountSignOut", who.App, string(who.Account.User), what)
	return done(w, http.StatusNoContent, err)
}

type noRequest struct{}

func (r Rooms) myAccount(ctx context.Context, who Identity, _ noRequest) (account, error) {
	return r.getAccount(ctx, who, accountRequest{who.Account.User})
}

type accountRequest struct {
	User wire.UserID `path:"userId"`
}

func (r Rooms) getAccount(ctx context.Context, _ Identity, q accountRequest) (account, error) {
	p, err := r.Accounts.Profile(ctx, q.User)
	if err != nil {
		return account{}, err
	}
	return r.showAccount(p), nil
}

type findAccountRequest struct {
	Username string `query:"username"`
}

func (r Rooms) findAccount(ctx context.Context, _ Identity, q findAccountRequest) (account, error) {
	if q.Username == "" {
		return account{}, Invalid("username", "is needed")
	}
	p, err := r.Accounts.ProfileOf(ctx, q.Username)
	if err != nil {
		return account{}, err
	}
	return r.showAccount(p), nil
}

// maxProfiles is how many profiles are given at once.
const maxProfiles = 100

type profilesRequest struct {
	IDs string `query:"ids"`
}

type profilesAnswer struct {
	Profiles []account `json:"profiles"`
}

// listProfiles gives those of some users, in the order in which they are named; of those
// that there are not nothing.
func (r Rooms) listProfiles(ctx context.Context, _ Identity, q profilesRequest) (profilesAnswer, error) {
	if q.IDs == "" {
		return profilesAnswer{}, Invalid("ids", "is needed: user IDs with commas between them")
	}
	named := strings.SplitN(q.IDs, ",", maxProfiles+1)
	if len(named) > maxProfiles {
		return profilesAnswer{}, Invalid("ids", "has more than %d user IDs", maxProfiles)
	}
	users := make([]wire.UserID, len(named))
	for i, text := range named {
		var err error
		if users[i], err = wire.ParseUserID(text); err != nil {
			return profilesAnswer{}, Invalid("ids", "must be user IDs with commas between them; %q is none: %s", clip(text), err)
		}
	}
	found, err := r.Accounts.Profiles(ctx, users)
	answer := profilesAnswer{Profiles: make([]account, 0, len(found))}
	for _, user := range users {
		if p, ok := found[user]; ok {
			answer.Profiles = append(answer.Profiles, r.showAccount(p))
			delete(found, user) // once, however often it is named
		}
	}
	return answer, err
}

type changeAccountRequest struct {
	Body changeAccountBody `body:"json"`
}

type changeAccountBody struct {
	DisplayName *string `json:"displayName,omitzero"`
	Bio         *string `json:"bio,omitzero"`
	AvatarURL   *string `json:"avatarUrl,omitzero"`
}

func (r Rooms) changeAccount(ctx context.Context, who Identity, q changeAccountRequest) (account, error) {
	p, err := r.Accounts.SetProfile(ctx, who.Account, accounts.Change(q.Body))
	if err != nil {
		return account{}, err
	}
	return r.showAccount(p), nil
}

type deleteAccountRequest struct {
	Body deleteAccountBody `body:"json"`
}

type deleteAccountBody struct {
	Password string `json:"password"`
}

func (r Rooms) deleteAccount(w http.ResponseWriter, q *http.Request, who Identity, d deleteAccountRequest) error {
	err := r.Accounts.Delete(q.Context(), who.address, who.Account, d.Body.Password)
	r.noteDone(err, who, "accountDeleted", who.App, string(who.Account.User), "")
	return done(w, http.StatusNoContent, err)
}

type changePasswordRequest struct {
	Body changePasswordBody `body:"json"`
}

type changePasswordBody struct {
	Old string `json:"old"`
	New string `json:"new"`
}

func (r Rooms) changePassword(w http.ResponseWriter, q *http.Request, who Identity, c changePasswordRequest) error {
	err := r.Accounts.SetPassword(q.Context(), who.address, who.Account, c.Body.Old, c.Body.New)
	r.noteDone(err, who, "passwordChanged", who.App, string(who.Account.User), "")
	return done(w, http.StatusNoContent, err)
}

type accountSession struct {
	ID        wire.ID `json:"id"`
	CreatedAt Time    `json:"createdAt"`
	UsedAt    Time    `json:"usedAt"`
	ExpiresAt Time    `json:"expiresAt"`
	Address   string  `json:"address"`
	Current   bool    `json:"current"`
}

func showAccountSessions(who Identity, list []accounts.Session) []accountSession {
	shown := make([]accountSession, len(list))
	for i, s := range list {
		shown[i] = accountSession{s.ID, Time(s.Created), Time(s.Used), Time(s.Expires), s.Address, s.ID == who.Account.Session}
	}
	return shown
}

type accountSessionsAnswer struct {
	Sessions []accountSession `json:"sessions"`
}

func (r Rooms) mySessions(ctx context.Context, who Identity, _ noRequest) (accountSessionsAnswer, error) {
	list, err := r.Accounts.Sessions(ctx, who.Account)
	return accountSessionsAnswer{showAccountSessions(who, list)}, err
}

type endSessionRequest struct {
	ID wire.ID `path:"id"`
}

func (r Rooms) endSession(w http.ResponseWriter, q *http.Request, who Identity, e endSessionRequest) error {
	err := r.Accounts.EndSession(q.Context(), who.Account, e.ID)
	r.noteDone(err, who, "accountSignOut", who.App, string(who.Account.User), e.ID.String())
	return done(w, http.StatusNoContent, err)
}

// exportAnswer is all that is kept of somebody, but for what follows as "chat".
type exportAnswer struct {
	Account  account          `json:"account"`
	Sessions []accountSession `json:"sessions"`
	Blocks   []wire.UserID    `json:"blocks"`
}

// exportAccount writes its answer as it reads it: that may be more than is to be held in
// memory. What is short of its end is not JSON, and its connection is cut.
func (r Rooms) exportAccount(w http.ResponseWriter, q *http.Request, who Identity, _ noRequest) error {
	e, err := r.Accounts.Export(q.Context(), who.Account)
	if err != nil {
		return err
	}
	head, err := json.Marshal(exportAnswer{Account: r.showAccount(e.Profile), Sessions: showAccountSessions(who, e.Sessions), Blocks: e.Blocks}, jsonOptions())
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	if e.Chat == nil {
		_, _ = w.Write(append(head, '\n')) // the client may be gone
		return nil
	}
	sink := &lateHead{w: w, head: append(head[:len(head)-1], `,"chat":`...)}
	if err := e.Chat(sink); err != nil {
		if sink.head != nil {
			return err
		}
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write([]byte("}\n"))
	return nil
}

// lateHead writes a head before the first of what is written, so that an error before
// that can still be answered.
type lateHead struct {
	w    http.ResponseWriter
	head []byte
}

// Write implements io.Writer.
func (l *lateHead) Write(b []byte) (int, error) {
	// A client that takes this much has some time for the next.
	_ = http.NewResponseController(l.w).SetWriteDeadline(time.Now().Add(answerTime))
	if l.head != nil {
		if _, err := l.w.Write(l.head); err != nil {
			return 0, err
		}
		l.head = nil
	}
	return l.w.Write(b)
}

type resetAnswer struct {
	UserID    wire.UserID `json:"userId"`
	Username  string      `json:"username"`
	Token     string      `json:"token"`
	ExpiresAt Time        `json:"expiresAt"`
}

func (r Rooms) makeReset(ctx context.Context, who Identity, q accountRequest) (resetAnswer, error) {
	if refused := r.chat(); refused != nil {
		return resetAnswer{}, refused
	}
	made, err := r.Accounts.MakeReset(ctx, q.User)
	if err != nil {
		return resetAnswer{}, err
	}
	r.note(who, "resetMade", made.User.App(), string(made.User), "")
	return resetAnswer{made.User, made.Username, made.Token, Time(made.Expires)}, nil
}

type askResetRequest struct {
	Body askResetBody `body:"json"`
}

type askResetBody struct {
	Username string `json:"username"`
}

func (r Rooms) askReset(w http.ResponseWriter, _ *http.Request, who Identity, q askResetRequest) error {
	return done(w, http.StatusAccepted, r.Accounts.AskReset(who.address, q.Body.Username))
}

type useResetRequest struct {
	Body useResetBody `body:"json"`
}

type useResetBody struct {
	Token    string `json:"token"`
	Password string `json:"password"`
}

func (r Rooms) useReset(w http.ResponseWriter, q *http.Request, who Identity, u useResetRequest) error {
	user, err := r.Accounts.UseReset(q.Context(), u.Body.Token, u.Body.Password)
	r.noteDone(err, who, "passwordChanged", r.Accounts.App(), string(user), "by a reset")
	return done(w, http.StatusNoContent, err)
}

func (r Rooms) block(w http.ResponseWriter, q *http.Request, who Identity, b accountRequest) error {
	return done(w, http.StatusNoContent, r.Accounts.Block(q.Context(), who.Account, b.User))
}

func (r Rooms) unblock(w http.ResponseWriter, q *http.Request, who Identity, b accountRequest) error {
	return done(w, http.StatusNoContent, r.Accounts.Unblock(q.Context(), who.Account, b.User))
}

type myBlocksRequest struct{ Page }

type accountBlock struct {
	UserID    wire.UserID `json:"userId"`
	CreatedAt Time        `json:"createdAt"`
}

type myBlocksAnswer struct {
	Blocks []accountBlock `json:"blocks"`
	Next   Cursor         `json:"next,omitzero"`
}

// atNumber and readNumber write and read a number as a place in a list; before
// the first is -1.
func atNumber(number int64) string { return strconv.FormatInt(number, 10) }

func readNumber(position string) (int64, error) {
	if position == "" {
		return -1, nil
	}
	number, err := strconv.ParseInt(position, 10, 64)
	if err != nil {
		return 0, Invalid("cursor", "is of another list")
	}
	return number, nil
}

// myBlocks lists whom somebody has blocked, by number.
func (r Rooms) myBlocks(ctx context.Context, who Identity, q myBlocksRequest) (myBlocksAnswer, error) {
	after, err := readNumber(q.Cursor.Position)
	if err != nil {
		return myBlocksAnswer{}, err
	}
	list, err := r.Accounts.Blocks(ctx, who.Account, after, q.Limit+1)
	if err != nil {
		return myBlocksAnswer{}, err
	}
	more := len(list) > q.Limit
	list = list[:min(len(list), q.Limit)]
	answer := myBlocksAnswer{Blocks: make([]accountBlock, len(list))}
	for i, b := range list {
		answer.Blocks[i] = accountBlock{r.Accounts.UserOf(b.Number), Time(b.Created)}
	}
	if more {
		answer.Next = q.Next(atNumber(list[len(list)-1].Number))
	}
	return answer, nil
}
