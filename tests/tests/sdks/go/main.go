// The unmodified Go SDK against a real edge, one scenario per run: `sdk SCENARIO json|protobuf`.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

const within = 15 * time.Second

var scenarios = map[string]func() error{
	"chats_and_sees_who_is_there":  chats,
	"recovers_what_it_missed":      recovers,
	"errors_are_the_protocols_own": refused,
	"an_expired_token_is_replaced": replaced,
}

func main() {
	scenario, known := scenarios[os.Args[1]]
	if !known {
		fail(fmt.Errorf("no scenario %s", os.Args[1]))
	}
	if err := scenario(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func config(token string) centrifuge.Config {
	pem, err := os.ReadFile(os.Getenv("HEADLAND_CA"))
	if err != nil {
		fail(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return centrifuge.Config{Token: token, TLSConfig: &tls.Config{RootCAs: roots}, HandshakeTimeout: within}
}

func made(config centrifuge.Config) *centrifuge.Client {
	if os.Args[2] == "protobuf" {
		return centrifuge.NewProtobufClient(os.Getenv("HEADLAND_URL"), config)
	}
	return centrifuge.NewJsonClient(os.Getenv("HEADLAND_URL"), config)
}

// A connected client of the user whose token is in that variable.
func connected(user string) (*centrifuge.Client, error) {
	client := made(config(os.Getenv(user)))
	return client, connect(client)
}

func connect(client *centrifuge.Client) error {
	up := make(chan string, 1)
	client.OnConnected(func(centrifuge.ConnectedEvent) { up <- "" })
	client.OnDisconnected(func(e centrifuge.DisconnectedEvent) { up <- fmt.Sprint("disconnected: ", e.Code, e.Reason) })
	if err := client.Connect(); err != nil {
		return err
	}
	problem, err := next("a connection", up)
	if err == nil && problem != "" {
		err = errors.New(problem)
	}
	return err
}

// The next of something that is heard.
func next[T any](what string, heard chan T) (T, error) {
	select {
	case value := <-heard:
		return value, nil
	case <-time.After(within):
		var none T
		return none, fmt.Errorf("waited for %s", what)
	}
}

// What a subscription says.
type room struct {
	*centrifuge.Subscription
	publications chan centrifuge.Publication
	joins        chan string
	leaves       chan string
	subscribed   chan centrifuge.SubscribedEvent
	unsubscribed chan uint32
}

func entered(client *centrifuge.Client, channel string) (*room, error) {
	subscription, err := client.NewSubscription(channel)
	if err != nil {
		return nil, err
	}
	room := &room{subscription, make(chan centrifuge.Publication, 100), make(chan string, 100), make(chan string, 100),
		make(chan centrifuge.SubscribedEvent, 100), make(chan uint32, 100)}
	room.OnPublication(func(e centrifuge.PublicationEvent) { room.publications <- e.Publication })
	room.OnJoin(func(e centrifuge.JoinEvent) { room.joins <- e.User })
	room.OnLeave(func(e centrifuge.LeaveEvent) { room.leaves <- e.User })
	room.OnSubscribed(func(e centrifuge.SubscribedEvent) { room.subscribed <- e })
	room.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) { room.unsubscribed <- e.Code })
	return room, room.Subscribe()
}

func subscribed(client *centrifuge.Client, channel string) (*room, error) {
	room, err := entered(client, channel)
	if err == nil {
		_, err = next("a subscription", room.subscribed)
	}
	return room, err
}

func (r *room) say(number int) error {
	_, err := r.Publish(context.Background(), []byte(strconv.Itoa(number)))
	return err
}

// Wants these numbers, in order.
func (r *room) wants(from, to int) error {
	for number := from; number <= to; number++ {
		heard, err := next("a publication", r.publications)
		if err != nil {
			return err
		}
		if string(heard.Data) != strconv.Itoa(number) || heard.Offset != uint64(number) {
			return fmt.Errorf("wanted %d, heard %s at %d", number, heard.Data, heard.Offset)
		}
		if heard.Info == nil || heard.Info.User != "bob" {
			return fmt.Errorf("publication %d has the publisher %v", number, heard.Info)
		}
	}
	return nil
}

func both(channel string) (ann, bob *centrifuge.Client, hers, his *room, err error) {
	if ann, err = connected("ANN"); err != nil {
		return
	}
	if bob, err = connected("BOB"); err != nil {
		return
	}
	if hers, err = subscribed(ann, channel); err != nil {
		return
	}
	his, err = subscribed(bob, channel)
	return
}

func chats() error {
	_, bob, hers, his, err := both("chat:go-" + os.Args[2])
	if err != nil {
		return err
	}
	for user := ""; user != "bob"; {
		if user, err = next("a join", hers.joins); err != nil {
			return err
		}
	}
	for number := 1; number <= 50; number++ {
		if err := his.say(number); err != nil {
			return err
		}
	}
	if err := hers.wants(1, 50); err != nil {
		return err
	}
	background := context.Background()
	present, err := hers.Presence(background)
	if err != nil || len(present.Clients) != 2 {
		return fmt.Errorf("present: %v, %v", present, err)
	}
	stats, err := hers.PresenceStats(background)
	if err != nil || stats.NumClients != 2 || stats.NumUsers != 2 {
		return fmt.Errorf("stats: %v, %v", stats, err)
	}
	page, err := hers.History(background, centrifuge.WithHistoryLimit(2), centrifuge.WithHistoryReverse(true))
	if err != nil || page.Offset != 50 || len(page.Publications) != 2 || string(page.Publications[0].Data) != "50" {
		return fmt.Errorf("history: %v, %v", page, err)
	}
	bob.Close()
	user, err := next("a leave", hers.leaves)
	if err == nil && user != "bob" {
		err = fmt.Errorf("%s left", user)
	}
	return err
}

func recovers() error {
	ann, _, hers, his, err := both("chat:go-away-" + os.Args[2])
	if err != nil {
		return err
	}
	if err := his.say(1); err != nil {
		return err
	}
	if err := hers.wants(1, 1); err != nil {
		return err
	}
	if err := ann.Disconnect(); err != nil {
		return err
	}
	for number := 2; number <= 20; number++ {
		if err := his.say(number); err != nil {
			return err
		}
	}
	if err := connect(ann); err != nil {
		return err
	}
	event, err := next("a subscription", hers.subscribed)
	if err != nil || !event.WasRecovering || !event.Recovered {
		return fmt.Errorf("not recovered: %v, %v", event, err)
	}
	return hers.wants(2, 20)
}

func refused() error {
	ann, err := connected("ANN")
	if err != nil {
		return err
	}
	background := context.Background()
	_, err = ann.RPC(background, "anything", []byte("{}"))
	if err := wants(108, err); err != nil {
		return err
	}
	_, err = ann.Publish(background, "closed:room", []byte("{}"))
	if err := wants(103, err); err != nil {
		return err
	}
	room, err := entered(ann, "nowhere:room")
	if err != nil {
		return err
	}
	code, err := next("an end", room.unsubscribed)
	if err == nil && code != 102 {
		err = fmt.Errorf("unsubscribed with %d", code)
	}
	return err
}

func wants(code uint32, err error) error {
	var reply *centrifuge.Error
	if !errors.As(err, &reply) || reply.Code != code {
		return fmt.Errorf("wanted the error %d, got %v", code, err)
	}
	return nil
}

func replaced() error {
	asked := make(chan bool, 10)
	config := config(os.Getenv("EXPIRED"))
	config.GetToken = func(centrifuge.ConnectionTokenEvent) (string, error) {
		asked <- true
		return os.Getenv("ANN"), nil
	}
	if err := connect(made(config)); err != nil {
		return err
	}
	_, err := next("a question for a token", asked)
	return err
}
