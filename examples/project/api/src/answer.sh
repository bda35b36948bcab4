#!/bin/sh
echo "api, release $(cat /srv/api/release)"
