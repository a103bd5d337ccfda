// Command readjournal prints the events of Switchboard's journal, from its beginning on.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func main() {
	nc, err := nats.Connect(os.Args[1]) // such as nats://reader:password@127.0.0.1:4222
	if err != nil {
		log.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(context.Background(), "SB_JOURNAL", jetstream.OrderedConsumerConfig{})
	if err != nil {
		log.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		log.Fatal(err)
	}
	for {
		m, err := messages.Next()
		if err != nil {
			log.Fatal(err)
		}
		for line := range bytes.Lines(m.Data()) { // a message is a batch: none, one or many events
			var event struct {
				ID, Type, Device string
				Amount           int64
			}
			if err := json.Unmarshal(line, &event); err != nil {
				log.Fatal(err)
			}
			fmt.Println(event.Device, event.Type, event.Amount)
		}
	}
}
