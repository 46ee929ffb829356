-- Where the device time went.
FROM device_time() WHERE times > 0 ORDER BY paid_by DESC, spent_seconds DESC, what, times
