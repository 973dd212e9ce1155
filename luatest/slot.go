package luatest

import "strings"

// Slot returns the cluster hash slot of key: the CRC16 of its hash tag, or of the whole
// key if it has none, modulo 16384.
func Slot(key string) int {
	if _, after, found := strings.Cut(key, "{"); found {
		if tag, _, closed := strings.Cut(after, "}"); closed && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for i := 0; i < len(key); i++ {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc % 16384)
}

// noSlot is the slot of no keys.
const noSlot = -1

// slotOf returns the slot that all of the keys are in, and whether there is one.
func slotOf(keys []string) (slot int, one bool) {
	slot = noSlot
	for _, key := range keys {
		if s := Slot(key); slot == noSlot {
			slot = s
		} else if s != slot {
			return noSlot, false
		}
	}
	return slot, true
}
