package relay

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

func collectorKeys(s *CollectorSettings) []setting {
	l := &s.Limits
	return slices.Concat([]setting{
		{"id", "", putChecked(&s.ID, checkID)},
		{"address", "", putChecked(&s.Address, checkHost)},
		{"listen", "", putChecked(&s.Listen, checkHost)},
		{"port", "0", putCount(&s.Port, 0, maxPort)},
		{"spool", "", putPath(&s.Spool)},
	}, atNetwork(&s.Network), []setting{
		{"network.cluster", "", putChecked(&s.Network.Cluster, checkID)},
		{"network.leave", "false", putBool(&s.Network.Leave)},
		{"limits.file", config.Bytes(DefaultFileBytes).String(), putSize(&l.FileBytes, 0, mostBytes)},
		{"limits.spool", "0", putSize(&l.SpoolBytes, 0, mostBytes)},
		{"limits.files", "0", putCount(&l.SpoolFiles, 0, mostFiles)},
		{"limits.free", config.Bytes(DefaultFreeBytes).String(), putSize(&l.FreeBytes, 0, mostBytes)},
		{"limits.connections", strconv.Itoa(DefaultConnections), putCount(&l.Connections, 0, mostSockets)},
		{"limits.idle", durationOf(DefaultIdle), putDuration(&l.Idle, 0, 24*time.Hour)},
		{"limits.partAge", durationOf(DefaultPartAge), putDuration(&l.PartAge, 0, mostKeep)},
	}, shared(&s.Access, &s.Admin, &s.Log))
}

// DefaultCollector returns a collector's settings when a file says nothing; what is required is missing.
func DefaultCollector() CollectorSettings {
	return CollectorSettings{
		Network: AtNetwork{Heartbeat: DefaultHeartbeat}, Log: standardLog(),
		Limits: CollectorLimits{
			FileBytes: DefaultFileBytes, FreeBytes: DefaultFreeBytes, Connections: DefaultConnections, Idle: DefaultIdle, PartAge: DefaultPartAge,
		},
	}
}

// ReadCollector reads a collector's settings. What is wrong is [config.Problems].
func ReadCollector(file string) (CollectorSettings, error) { return readCollector(file, false) }

// CheckCollector reads a collector's settings and looks whether its folder can be used.
func CheckCollector(file string) error { _, err := readCollector(file, true); return err }

// Doubts says of limits that are good which are most likely a mistake, each with its key.
func (s CollectorSettings) Doubts() []string {
	l := s.Limits
	if l.SpoolBytes == 0 || l.FileBytes <= l.SpoolBytes || l.FileBytes == DefaultFileBytes {
		return nil // the default is larger than many a spool
	}
	return []string{fmt.Sprintf("limits.file: %s: a file that is larger than limits.spool, %s, is refused for good", l.FileBytes, l.SpoolBytes)}
}

func readCollector(file string, look bool) (CollectorSettings, error) {
	s := DefaultCollector()
	d, err := readSettings(file, collectorKeys(&s))
	if err != nil {
		return CollectorSettings{}, err
	}
	if s.Spool == "" {
		d.Refuse("spool", "is required: the folder that files are stacked in")
	}
	if s.Address == "" && s.Listen == "" {
		d.Refuse("address", "is required: where uploaders reach this collector")
	}
	networked := d.Has("network.server")
	if err := checkReached(s.Address); s.Address != "" && networked && err != nil {
		d.Refuse("address", "%s; where the collector listens is the setting listen", err)
	}
	if networked && !d.Has("network.cluster") {
		d.Refuse("network.cluster", "is required: the cluster that this collector joins")
	}
	if !networked && d.Has("network.cluster") {
		d.Refuse("network.server", "is required to join a cluster")
	}
	if s.Port == 0 && !networked {
		d.Refuse("port", "is required without a network server, which could give one out")
	}
	checkApart(d, s.Admin, "port", s.listenHost(), s.Port)
	if look {
		checkFolder(d, "spool", s.Spool)
	}
	checkAccess(d, s.Access)
	if err := d.Err(); err != nil {
		return CollectorSettings{}, err
	}
	return s, nil
}

func networkKeys(s *NetworkSettings) []setting {
	return slices.Concat([]setting{
		{"server.address", DefaultNetworkHost, putChecked(&s.Address, checkHost)},
		{"server.port", strconv.Itoa(DefaultNetworkPort), putCount(&s.Port, 0, maxPort)},
		{"clusters.port.start", strconv.Itoa(DefaultFirstPort), putCount(&s.FirstPort, 1, maxPort)},
		{"expireAfter", durationOf(DefaultExpireAfter), putDuration(&s.ExpireAfter, 2*leastBeat, 24*mostBeat)},
		{"data", DefaultNetworkData, putPath(&s.Data)},
	}, shared(&s.Access, &s.Admin, &s.Log))
}

// DefaultNetwork returns a network server's settings when a file says nothing; what is required is missing.
func DefaultNetwork() NetworkSettings {
	return NetworkSettings{
		Address: DefaultNetworkHost, Port: DefaultNetworkPort, FirstPort: DefaultFirstPort,
		ExpireAfter: DefaultExpireAfter, Data: DefaultNetworkData, Log: standardLog(),
	}
}

// ReadNetwork reads a network server's settings. What is wrong is [config.Problems].
func ReadNetwork(file string) (NetworkSettings, error) { return readNetwork(file, false) }

// CheckNetwork reads a network server's settings and looks whether its folder can be used.
func CheckNetwork(file string) error { _, err := readNetwork(file, true); return err }

func readNetwork(file string, look bool) (NetworkSettings, error) {
	s := DefaultNetwork()
	d, err := readSettings(file, networkKeys(&s))
	if err != nil {
		return NetworkSettings{}, err
	}
	checkApart(d, s.Admin, "server.port", s.Address, s.Port)
	if look {
		checkFolder(d, "data", s.Data)
	}
	checkAccess(d, s.Access)
	if err := d.Err(); err != nil {
		return NetworkSettings{}, err
	}
	return s, nil
}

// Bounds of a maker's settings.
const (
	mostUnit   = 24 * time.Hour
	mostRecord = 64 * config.MiB // a record is held in memory
)

func makerKeys(s *MakerSettings) []setting {
	return slices.Concat([]setting{
		{"spool", "", putPath(&s.Spool)},
		{"prefix", "", putText(&s.Prefix)},
		{"suffix", DefaultSuffix, putText(&s.Suffix)},
		{"unit", durationOf(DefaultUnit), putDuration(&s.Unit, time.Millisecond, mostUnit)},
		{"listen", "", putAddress(&s.Listen)},
		{"record", config.Bytes(DefaultRecord).String(), putSize(&s.Record, 1, mostRecord)},
	}, atNetwork(&s.Network), shared(&s.Access, &s.Admin, &s.Log))
}

// DefaultMaker returns a maker's settings when a file says nothing; what is required is missing.
func DefaultMaker() MakerSettings {
	return MakerSettings{
		Suffix: DefaultSuffix, Unit: DefaultUnit, Record: DefaultRecord,
		Network: AtNetwork{Heartbeat: DefaultHeartbeat}, Log: standardLog(),
	}
}

// ReadMaker reads a maker's settings. What is wrong is [config.Problems].
func ReadMaker(file string) (MakerSettings, error) { return readMaker(file, false) }

// CheckMaker reads a maker's settings and looks whether its folder can be used.
func CheckMaker(file string) error { _, err := readMaker(file, true); return err }

func readMaker(file string, look bool) (MakerSettings, error) {
	s := DefaultMaker()
	d, err := readSettings(file, makerKeys(&s))
	if err != nil {
		return MakerSettings{}, err
	}
	if s.Spool == "" {
		d.Refuse("spool", "is required: the folder that files are made in")
	}
	if err := s.checkNames(); err != nil {
		key := "prefix"
		if !d.Has(key) {
			key = "suffix"
		}
		d.Refuse(key, "prefix and suffix make no name of a file: %s", err)
	}
	if host, port := hostAndPort(s.Listen); port != 0 {
		checkApart(d, s.Admin, "listen", host, port)
	}
	if s.Unit%time.Millisecond != 0 {
		d.Refuse("unit", "%s is no whole number of milliseconds", s.Unit)
	}
	if look {
		checkFolder(d, "spool", s.Spool)
	}
	checkAccess(d, s.Access)
	if err := d.Err(); err != nil {
		return MakerSettings{}, err
	}
	return s, nil
}

// checkNames says what is wrong with the names that a maker would give.
func (s MakerSettings) checkNames() error {
	name := sliceName{day: 1_000_000, slot: int64(mostUnit / time.Millisecond)}.file(s.Prefix, s.Suffix)
	if len(name) > 200 {
		return errors.New("they are too long")
	}
	return spool.CheckName(name)
}
