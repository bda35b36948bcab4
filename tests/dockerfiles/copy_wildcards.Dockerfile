FROM scratch
COPY package*.json app/*.go /wild/
COPY docs/gu?de.txt /question/
COPY services/*/package.json /middle/
COPY services/*/src /directories/
COPY absent*.json package.json /empty/
