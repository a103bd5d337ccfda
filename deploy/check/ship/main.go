// Command ship makes of binaries what others run them with. make calls it:
//
//	ship image --version V --created SECONDS --amd64 F --arm64 F (--save FILE.tar | --push NAME:TAG)
//	ship manifests --chart FOLDER --to FOLDER
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/seed-3d8c1042/switchboard/deploy/check/image"
	"github.com/seed-3d8c1042/switchboard/deploy/check/manifests"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ship:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "image" {
		return makeImage(ctx, args[1:])
	}
	if len(args) > 0 && args[0] == "manifests" {
		return makeManifests(args[1:])
	}
	return errors.New("say image or manifests")
}

func makeImage(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	version := flags.String("version", "", "the version that the binaries are stamped with")
	created := flags.Int64("created", 0, "the time of the commit, in seconds since 1970")
	amd64 := flags.String("amd64", "", "the binary for amd64")
	arm64 := flags.String("arm64", "", "the binary for arm64")
	save := flags.String("save", "", "write the image to this file")
	push := flags.String("push", "", "push it to a registry under this name")
	if err := flags.Parse(args); err != nil {
		return err
	}
	index, err := image.Build(image.Options{
		Binaries: map[string]string{"amd64": *amd64, "arm64": *arm64}, Version: *version, Created: time.Unix(*created, 0),
	})
	if err != nil {
		return err
	}
	if *save != "" {
		if err := image.Save(index, "switchboard:"+*version, *save); err != nil {
			return fmt.Errorf("save the image: %w", err)
		}
		fmt.Println(*save)
	}
	if *push == "" {
		return nil
	}
	digest, err := image.Push(ctx, index, *push)
	if err == nil {
		fmt.Println(digest)
	}
	return err
}

func makeManifests(args []string) error {
	flags := flag.NewFlagSet("manifests", flag.ContinueOnError)
	chart := flags.String("chart", "", "the folder of the chart")
	to := flags.String("to", "", "the folder of the manifests")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return manifests.Write(*chart, *to)
}
