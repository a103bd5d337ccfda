package match

// dues is a heap of tickets that wait, by when there is something to do for them.
type dues []*ticket

func (d dues) less(i, j int) bool {
	a, b := d[i], d[j]
	if a.wait.next != b.wait.next {
		return a.wait.next < b.wait.next
	}
	return older(a, b)
}

func (d dues) swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].wait.heapAt, d[j].wait.heapAt = i, j
}

func (d dues) up(i int) {
	for i > 0 && d.less(i, (i-1)/2) {
		d.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (d dues) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(d); child++ {
			if d.less(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		d.swap(i, least)
		i = least
	}
}

func (d *dues) add(t *ticket) {
	t.wait.heapAt = len(*d)
	*d = append(*d, t)
	d.up(t.wait.heapAt)
}

func (d *dues) remove(t *ticket) {
	at, last := t.wait.heapAt, len(*d)-1
	d.swap(at, last)
	(*d)[last] = nil
	*d = (*d)[:last]
	if at < last {
		d.down(at)
		d.up(at)
	}
}

// moved puts a ticket right whose time has changed.
func (d dues) moved(t *ticket) {
	d.down(t.wait.heapAt)
	d.up(t.wait.heapAt)
}
