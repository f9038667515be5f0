// Command gohub is the peer in Go: a hub goroutine a room, and for each connection a buffered channel, which a
// writer goroutine drains; one that is full costs its connection. Direct messages go through a directory behind a mutex.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	channelSize  = 256
	writeTimeout = 10 * time.Second
)

var (
	pingInterval time.Duration
	upgrader     = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}
)

// client is one connection; only its writer goroutine writes to it.
type client struct {
	socket *websocket.Conn
	queue  chan []byte
	gone   chan struct{}
	once   sync.Once
}

func accept(w http.ResponseWriter, r *http.Request) *client {
	socket, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil
	}
	c := &client{socket: socket, queue: make(chan []byte, channelSize), gone: make(chan struct{})}
	go c.write()
	return c
}

func (c *client) end() {
	c.once.Do(func() { close(c.gone) })
}

func (c *client) write() {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	defer c.socket.Close()
	for {
		kind, message := websocket.TextMessage, []byte(nil)
		select {
		case message = <-c.queue:
		case <-ticker.C:
			kind = websocket.PingMessage
		case <-c.gone:
			return
		}
		c.socket.SetWriteDeadline(time.Now().Add(writeTimeout))
		if c.socket.WriteMessage(kind, message) != nil {
			return
		}
	}
}

// room is a hub: its goroutine alone touches the members.
type room struct {
	members map[*client]bool
	enter   chan *client
	leave   chan *client
	publish chan []byte
}

func newRoom() *room {
	h := &room{map[*client]bool{}, make(chan *client), make(chan *client), make(chan []byte)}
	go h.run()
	return h
}

func (h *room) run() {
	for {
		select {
		case c := <-h.enter:
			h.members[c] = true
		case c := <-h.leave:
			delete(h.members, c)
		case message := <-h.publish:
			for c := range h.members {
				select {
				case c.queue <- message:
				default:
					delete(h.members, c)
					c.end()
				}
			}
		}
	}
}

var rooms = struct {
	sync.Mutex
	byName map[string]*room
}{byName: map[string]*room{}}

func roomNamed(name string) *room {
	rooms.Lock()
	defer rooms.Unlock()
	h := rooms.byName[name]
	if h == nil {
		h = newRoom()
		rooms.byName[name] = h
	}
	return h
}

func serveRoom(w http.ResponseWriter, r *http.Request) {
	c := accept(w, r)
	if c == nil {
		return
	}
	defer c.end()
	h := roomNamed(r.URL.Path)
	h.enter <- c
	defer func() { h.leave <- c }()
	for {
		_, message, err := c.socket.ReadMessage()
		if err != nil {
			return
		}
		h.publish <- message
	}
}

var people = struct {
	sync.RWMutex
	byID   map[int]*client
	lastID int
}{byID: map[int]*client{}}

func (c *client) arrive() int {
	people.Lock()
	defer people.Unlock()
	people.lastID++
	people.byID[people.lastID] = c
	return people.lastID
}

func depart(id int) {
	people.Lock()
	delete(people.byID, id)
	people.Unlock()
}

func person(id int) *client {
	people.RLock()
	defer people.RUnlock()
	return people.byID[id]
}

func (c *client) say(value any) {
	message, err := json.Marshal(value)
	if err != nil {
		return
	}
	select {
	case c.queue <- message:
	case <-c.gone:
	}
}

type incoming struct {
	To      int    `json:"to"`
	Message string `json:"message"`
}

type outgoing struct {
	From    int    `json:"from"`
	Message string `json:"message"`
}

func serveDirect(w http.ResponseWriter, r *http.Request) {
	c := accept(w, r)
	if c == nil {
		return
	}
	defer c.end()
	me := c.arrive()
	defer depart(me)
	c.say(map[string]int{"id": me})
	for {
		_, text, err := c.socket.ReadMessage()
		if err != nil {
			return
		}
		var request incoming
		if json.Unmarshal(text, &request) != nil {
			c.say(map[string]string{"error": "not JSON"})
		} else if recipient := person(request.To); recipient == nil {
			c.say(map[string]string{"error": "not online"})
		} else {
			recipient.say(outgoing{me, request.Message})
		}
	}
}

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err == nil {
		pingInterval, err = time.ParseDuration(os.Args[2] + "s")
	}
	if err != nil {
		log.Fatal("usage: gohub PORT PING_INTERVAL: ", err)
	}
	http.HandleFunc("/", serveDirect)
	http.HandleFunc("/ws", serveRoom)
	http.HandleFunc("/rooms/", serveRoom)
	log.Fatal(http.ListenAndServe(fmt.Sprintf("127.0.0.1:%d", port), nil))
}
